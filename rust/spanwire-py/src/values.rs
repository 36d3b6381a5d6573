//! Spanner values as Python objects.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDate, PyDict, PyList, PyString, PyType};
use spanwire_core::change::{Type, TypeCode};
use spanwire_core::envelope::read::{Cells, Mod, OtherPlace, Value};

use crate::errors::OrRaise;
use crate::timestamp::Timestamp;
use crate::untyped::Untyped;

static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// One of a mod's objects as a dict by column name; a column that is missing is not there.
pub fn object<'py>(
    py: Python<'py>,
    change: &Mod<'_>,
    mut cells: Cells<'_, '_>,
    names: &[Py<PyString>],
    place: OtherPlace,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    while let (Some(number), Some(cell)) = (cells.column(), cells.next()) {
        let (column, cell) = cell.or_raise(py)?;
        if !matches!(cell, Value::Missing) {
            dict.set_item(&names[number], value(py, &cell, &column.column_type)?)?;
        }
    }
    for other in change.others().or_raise(py)? {
        let other = other.or_raise(py)?;
        if other.place == place && !dict.contains(other.name)? {
            dict.set_item(other.name, Untyped::of(other.json, None))?;
        }
    }
    Ok(dict)
}

/// What has no place in a mod's lists: (which object, name, value).
pub fn others<'py>(py: Python<'py>, change: &Mod<'_>) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for other in change.others().or_raise(py)? {
        let other = other.or_raise(py)?;
        let place = match other.place {
            OtherPlace::Keys => "keys",
            OtherPlace::NewValues => "new",
            OtherPlace::OldValues => "old",
        };
        list.append((place, other.name, Untyped::of(other.json, None)))?;
    }
    Ok(list)
}

fn value<'py>(py: Python<'py>, value: &Value<'_>, column_type: &Type) -> PyResult<Bound<'py, PyAny>> {
    Ok(match *value {
        Value::Missing | Value::Null => py.None().into_bound(py),
        Value::Bool(truth) => truth.into_pyobject(py)?.to_owned().into_any(),
        Value::Int64(number) => number.into_pyobject(py)?.into_any(),
        Value::Float64(number) => number.into_pyobject(py)?.into_any(),
        Value::Text(text) => return self::text(py, text, column_type.code),
        Value::Json(text) => Bound::new(py, Untyped::of(text, Some(column_type)))?.into_any(),
        Value::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Value::Timestamp(timestamp) => Bound::new(py, Timestamp(timestamp))?.into_any(),
        Value::Array(array) => {
            let element_type = column_type.array_element.as_deref().unwrap_or(column_type);
            let list = PyList::empty(py);
            for element in array.iter() {
                list.append(self::value(py, &element.or_raise(py)?, element_type)?)?;
            }
            list.into_any()
        }
    })
}

/// NUMERIC as Decimal, DATE as date, the rest as str. What does not read as its type stays text: relays
/// today do not write such a one.
fn text<'py>(py: Python<'py>, text: &str, code: TypeCode) -> PyResult<Bound<'py, PyAny>> {
    match code {
        TypeCode::Numeric => {
            let decimal = DECIMAL.import(py, "decimal", "Decimal")?;
            Ok(decimal.call1((text,)).unwrap_or_else(|_| PyString::new(py, text).into_any()))
        }
        TypeCode::Date => Ok(date(py, text).unwrap_or_else(|| PyString::new(py, text).into_any())),
        _ => Ok(PyString::new(py, text).into_any()),
    }
}

fn date<'py>(py: Python<'py>, text: &str) -> Option<Bound<'py, PyAny>> {
    let mut parts = text.splitn(3, '-');
    let year = parts.next()?.parse().ok()?;
    let month = parts.next()?.parse().ok()?;
    let day = parts.next()?.parse().ok()?;
    PyDate::new(py, year, month, day).ok().map(Bound::into_any)
}
