//! `Output`: one output of a pipeline.

use std::collections::HashMap;
use std::time::Duration;

use pyo3::prelude::*;
use spanwire_core::Error;
use spanwire_core::envelope::Values;
use spanwire_core::output::{Kind, OnFull, OutputSettings};
use spanwire_core::pipeline::{Batch, Lane};

use crate::choice::Choice;
use crate::errors::raise;

/// One output of a pipeline.
#[pyclass(frozen, from_py_object, module = "spanwire._core")]
#[derive(Clone)]
pub struct Output(pub Lane);

#[pymethods]
impl Output {
    #[new]
    #[pyo3(signature = (kind, bind, *, values="typed", on_full=None, topic=None, choice=None, options=None))]
    fn new(
        py: Python<'_>,
        kind: &str,
        bind: Vec<String>,
        values: &str,
        on_full: Option<&str>,
        topic: Option<String>,
        choice: Option<Choice>,
        options: Option<HashMap<String, i64>>,
    ) -> PyResult<Self> {
        let kinds = [("pub", Kind::Pub), ("push", Kind::Push), ("ring", Kind::Ring), ("feed", Kind::Feed)];
        let kind = one_of(py, "kind", kind, &kinds)?;
        let values = one_of(py, "values", values, &[("typed", Values::Typed), ("json", Values::Json)])?;
        let mut output = OutputSettings::new(kind, bind);
        if let Some(on_full) = on_full {
            output.on_full =
                one_of(py, "on_full", on_full, &[("block", OnFull::Block), ("detach", OnFull::Detach)])?;
        }
        let mut batch = Batch::default();
        let mut options = Options::new(py, options);
        options.take("queue_bytes", &mut output.queue_bytes)?;
        options.take("queue_messages", &mut output.queue_messages)?;
        options.take("ring_bytes", &mut output.ring_bytes)?;
        options.take_some("number", &mut output.number)?;
        options.take("connections", &mut output.connections)?;
        options.take_time("silence_ms", 1, &mut output.silence)?;
        options.take("high_water_mark", &mut output.high_water_mark)?;
        options.take_time("linger_ms", 1, &mut output.linger)?;
        options.take_time("keepalive_s", 1_000, &mut output.keepalive)?;
        options.take_time("heartbeat_ms", 1, &mut output.heartbeat)?;
        options.take("batch_bytes", &mut batch.bytes)?;
        options.take("batch_changes", &mut batch.changes)?;
        options.take_time("batch_delay_ms", 1, &mut batch.delay)?;
        options.finish()?;
        output.validate().map_err(|error| raise(py, &error))?;
        let choice = choice.unwrap_or_default().checked().map_err(|error| raise(py, &error))?;
        Ok(Self(Lane { output, values, choice, topic, batch }))
    }
}

fn one_of<T: Copy>(py: Python<'_>, setting: &'static str, given: &str, known: &[(&str, T)]) -> PyResult<T> {
    if let Some((_, value)) = known.iter().find(|(name, _)| *name == given) {
        return Ok(*value);
    }
    let names: Vec<_> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
    let what = format!("must be {}, is {given:?}", names.join(" or "));
    Err(raise(py, &Error::Config { setting, what }))
}

/// Numbers given by name: each is taken by its setting, and none may be left over.
pub struct Options<'py> {
    py: Python<'py>,
    given: HashMap<String, i64>,
    known: Vec<&'static str>,
}

impl<'py> Options<'py> {
    pub fn new(py: Python<'py>, given: Option<HashMap<String, i64>>) -> Self {
        Self { py, given: given.unwrap_or_default(), known: Vec::new() }
    }

    /// Puts the number of this name into its setting, if it was given.
    pub fn take<T: TryFrom<i64>>(&mut self, name: &'static str, setting: &mut T) -> PyResult<()> {
        self.known.push(name);
        let Some(number) = self.given.remove(name) else { return Ok(()) };
        *setting = T::try_from(number).map_err(|_| {
            raise(self.py, &Error::Config { setting: name, what: format!("{number} is out of range") })
        })?;
        Ok(())
    }

    /// The same where there need not be one.
    pub fn take_some<T: TryFrom<i64> + Default>(
        &mut self,
        name: &'static str,
        setting: &mut Option<T>,
    ) -> PyResult<()> {
        if self.given.contains_key(name) {
            self.take(name, setting.insert(T::default()))
        } else {
            self.known.push(name);
            Ok(())
        }
    }

    /// The same for a time, given in units of so many milliseconds.
    pub fn take_time(&mut self, name: &'static str, unit_ms: u64, setting: &mut Duration) -> PyResult<()> {
        let mut number = None;
        if self.given.contains_key(name) {
            let mut given = 0_u64;
            self.take(name, &mut given)?;
            number = Some(given);
        } else {
            self.known.push(name);
        }
        if let Some(number) = number {
            *setting = Duration::from_millis(number.saturating_mul(unit_ms));
        }
        Ok(())
    }

    /// An error if a name was given that nobody takes.
    pub fn finish(self) -> PyResult<()> {
        match self.given.keys().min() {
            None => Ok(()),
            Some(name) => {
                let what = format!("{name:?} is not an option; known are {}", self.known.join(", "));
                Err(raise(self.py, &Error::Config { setting: "options", what }))
            }
        }
    }
}
