//! The border between Python and Rust: convert, release the GIL, call. Nothing else.

mod datapath;
mod proxy;
mod rows;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    datapath::register(module)?;
    proxy::register(module)
}
