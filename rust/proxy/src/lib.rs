//! The L7 engine. No Python in it.
