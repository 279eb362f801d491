//! Loads and drives the eBPF director. No Python in it.
