//! `trimaran._native.Engine`: the L7 engine as Python sees it.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::time::Duration;

#[pyclass(frozen, module = "trimaran._native")]
struct Engine(trimaran_proxy::Engine);

#[pymethods]
impl Engine {
    #[new]
    fn new(
        py: Python<'_>,
        snapshot: &str,
        listeners: Vec<(String, u16, i32)>,
        workers: usize,
    ) -> PyResult<Engine> {
        py.detach(|| trimaran_proxy::Engine::start(snapshot, &listeners, workers))
            .map(Engine)
            .map_err(PyValueError::new_err)
    }

    #[pyo3(signature = (snapshot, listeners=None))]
    fn swap(
        &self,
        py: Python<'_>,
        snapshot: &str,
        listeners: Option<Vec<(String, u16, Option<i32>)>>,
    ) -> PyResult<()> {
        py.detach(|| self.0.swap(snapshot, listeners.as_deref()))
            .map_err(PyValueError::new_err)
    }

    fn check(&self, py: Python<'_>, snapshot: &str) -> PyResult<()> {
        py.detach(|| self.0.check(snapshot))
            .map_err(PyValueError::new_err)
    }

    fn stop(&self, py: Python<'_>, graceful_timeout_s: f64) -> PyResult<()> {
        let patience = Duration::try_from_secs_f64(graceful_timeout_s)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        py.detach(|| self.0.stop(patience));
        Ok(())
    }

    fn set_peer(&self, py: Python<'_>, upstream: &str, peer: &str, state: &str) -> PyResult<()> {
        py.detach(|| self.0.set_peer(upstream, peer, state))
            .map_err(PyValueError::new_err)
    }

    fn status(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.status())
    }

    fn events(&self) -> Vec<String> {
        self.0.events()
    }

    fn event_fd(&self) -> i32 {
        self.0.event_fd()
    }
}

#[pyfunction]
fn check_snapshot(py: Python<'_>, snapshot: &str) -> PyResult<()> {
    py.detach(|| trimaran_proxy::check(snapshot))
        .map_err(PyValueError::new_err)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Engine>()?;
    module.add_function(wrap_pyfunction!(check_snapshot, module)?)
}
