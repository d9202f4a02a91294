//! How Python writes values: `str`, `repr` and `json.dumps`. Templates were written against Jinja2,
//! so what they print must be what Python prints, to the byte.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

use crate::tree::BigInteger;

/// Deeper values (a template can build them) are refused, not walked.
const MAX_DEPTH: usize = 200;
/// Text is paid for in fuel at this granularity, so that a small value that repeats itself (lists
/// of lists of the same list) cannot grow without bound.
const CHARGED_BYTES: usize = 4096;

/// Collects text and charges fuel for it as it grows.
struct Writer<'a, 's, 'e> {
    state: &'a State<'s, 'e>,
    text: String,
    charged: usize,
}

impl Writer<'_, '_, '_> {
    /// Pays for one value that is visited, `depth` levels down.
    fn enter(&self, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(invalid(format!("value is nested deeper than {MAX_DEPTH}")));
        }
        self.state.consume_fuel(1)
    }

    fn push(&mut self, text: &str) -> Result<(), Error> {
        self.text.push_str(text);
        if self.text.len() - self.charged >= CHARGED_BYTES {
            self.state
                .consume_fuel(((self.text.len() - self.charged) / 16) as u64)?;
            self.charged = self.text.len();
        }
        Ok(())
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// `float.__repr__`: shortest digits, positional while the exponent is in [-4, 16).
pub fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("{:e} writes an e");
    let exponent: i32 = exponent.parse().expect("{:e} writes an integer exponent");
    if (-4..16).contains(&exponent) {
        let text = format!("{value}");
        return if text.contains('.') {
            text
        } else {
            text + ".0"
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn is_big_integer(value: &Value) -> bool {
    value.downcast_object_ref::<BigInteger>().is_some()
}

/// Numbers as Python writes them, whether by `str` or by `json.dumps` (except non-finite ones).
fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    match f64::try_from(value.clone()) {
        Ok(float) => float_repr(float),
        Err(_) => value.to_string(),
    }
}

/// `str(value)`.
pub fn str(state: &State, value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    let mut writer = Writer {
        state,
        text: String::new(),
        charged: 0,
    };
    write_repr(&mut writer, value, 0)?;
    Ok(writer.text)
}

fn write_repr(writer: &mut Writer, value: &Value, depth: usize) -> Result<(), Error> {
    writer.enter(depth)?;
    match value.kind() {
        ValueKind::Undefined => Ok(()),
        ValueKind::None => writer.push("None"),
        ValueKind::Bool => writer.push(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => writer.push(&number(value)),
        ValueKind::String => writer.push(&string_repr(value.as_str().unwrap_or(""))),
        ValueKind::Seq | ValueKind::Iterable => {
            let (open, close) = if value.is_tuple() {
                ("(", ")")
            } else {
                ("[", "]")
            };
            writer.push(open)?;
            let mut count = 0;
            for item in value.try_iter()?.checked() {
                if count > 0 {
                    writer.push(", ")?;
                }
                write_repr(writer, &item?, depth + 1)?;
                count += 1;
            }
            if value.is_tuple() && count == 1 {
                writer.push(",")?;
            }
            writer.push(close)
        }
        ValueKind::Map => {
            writer.push("{")?;
            let mut separator = "";
            for key in value.try_iter()?.checked() {
                let key = key?;
                writer.push(separator)?;
                write_repr(writer, &key, depth + 1)?;
                writer.push(": ")?;
                write_repr(writer, &value.get_item(&key)?, depth + 1)?;
                separator = ", ";
            }
            writer.push("}")
        }
        _ => writer.push(&value.to_string()),
    }
}

/// `repr` of a string: single quotes unless it holds only those; what is not printable escaped.
fn string_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 || (0x7F..0xA1).contains(&(c as u32)) || c == '\u{ad}' => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// The arguments of `json.dumps` that transformers' `tojson` passes on.
pub struct JsonStyle {
    pub ensure_ascii: bool,
    pub indent: Option<String>, // one level
    pub item_separator: String,
    pub key_separator: String,
    pub sort_keys: bool,
    /// Characters that are never escaped: marks that the caller takes out again.
    pub is_mark: fn(char, Option<char>) -> bool,
    pub first_mark: Option<char>,
}

/// `json.dumps(value, …)`.
pub fn json_dumps(state: &State, value: &Value, style: &JsonStyle) -> Result<String, Error> {
    let mut writer = Writer {
        state,
        text: String::new(),
        charged: 0,
    };
    write_json(&mut writer, value, style, 0)?;
    Ok(writer.text)
}

fn write_json(
    writer: &mut Writer,
    value: &Value,
    style: &JsonStyle,
    depth: usize,
) -> Result<(), Error> {
    writer.enter(depth)?;
    match value.kind() {
        ValueKind::None => writer.push("null"),
        ValueKind::Bool => writer.push(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => writer.push(&json_number(value)),
        ValueKind::Plain if is_big_integer(value) => writer.push(&value.to_string()),
        ValueKind::String => writer.push(&json_string(value.as_str().unwrap_or(""), style)),
        ValueKind::Seq => {
            let items = value.try_iter()?.checked().collect::<Result<Vec<_>, _>>()?;
            write_container(writer, "[", "]", &items, style, depth, |writer, item| {
                write_json(writer, item, style, depth + 1)
            })
        }
        ValueKind::Map => {
            let mut items = Vec::new();
            for key in value.try_iter()?.checked() {
                let key = key?;
                let member = value.get_item(&key)?;
                items.push((json_key(&key)?, member));
            }
            if style.sort_keys {
                items.sort_by(|a, b| a.0.cmp(&b.0));
            }
            write_container(
                writer,
                "{",
                "}",
                &items,
                style,
                depth,
                |writer, (key, member)| {
                    writer.push(&json_string(key, style))?;
                    writer.push(&style.key_separator)?;
                    write_json(writer, member, style, depth + 1)
                },
            )
        }
        kind => Err(invalid(format!(
            "Object of type {kind} is not JSON serializable"
        ))),
    }
}

fn write_container<T>(
    writer: &mut Writer,
    open: &str,
    close: &str,
    items: &[T],
    style: &JsonStyle,
    depth: usize,
    mut write_item: impl FnMut(&mut Writer, &T) -> Result<(), Error>,
) -> Result<(), Error> {
    writer.push(open)?;
    let newline = |writer: &mut Writer, depth: usize| -> Result<(), Error> {
        if let Some(indent) = &style.indent {
            writer.push("\n")?;
            writer.push(&indent.repeat(depth))?;
        }
        Ok(())
    };
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            writer.push(&style.item_separator)?;
        }
        newline(writer, depth + 1)?;
        write_item(writer, item)?;
    }
    if !items.is_empty() {
        newline(writer, depth)?;
    }
    writer.push(close)
}

fn json_number(value: &Value) -> String {
    match number(value).as_str() {
        "nan" => "NaN".into(),
        "inf" => "Infinity".into(),
        "-inf" => "-Infinity".into(),
        text => text.into(),
    }
}

/// Python takes None, booleans and numbers as keys too.
fn json_key(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or("").to_owned()),
        ValueKind::None => Ok("null".into()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.into()),
        ValueKind::Number => Ok(json_number(key)),
        kind => Err(invalid(format!("keys must be strings, not {kind}"))),
    }
}

fn json_string(text: &str, style: &JsonStyle) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c if c as u32 >= 0x7F
                && style.ensure_ascii
                && c != '\u{7f}'
                && !(style.is_mark)(c, style.first_mark) =>
            {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
