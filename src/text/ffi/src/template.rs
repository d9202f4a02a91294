//! Chat templates, run as transformers runs them: the same environment settings, functions and
//! filters, with Python's idea of what values look like. The template is foreign code: it has no
//! files, no other templates, a budget of fuel and a bound on its output.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior};

use crate::python::{self, JsonStyle};
use crate::tree::{self, BigInteger};

const NAME: &str = "chat_template";

pub struct Options {
    pub fuel: u64,
    pub max_output_bytes: usize,
    pub first_mark: Option<char>,
}

#[derive(Debug)]
pub enum RenderError {
    Invalid(String),
    TooLarge(String),
}

pub struct Template {
    name: String,
    environment: Environment<'static>,
    fuel: u64,
    max_output_bytes: usize,
}

/// What `raise_exception` raises: its message goes to the client as it is.
#[derive(Debug)]
struct Raised(String);

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for Raised {}

impl Template {
    pub fn load(name: &str, source: &str, options: Options) -> Result<Self, String> {
        let mut environment = new_environment(&options);
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| describe(name, &error))?;
        Ok(Template {
            name: name.to_owned(),
            environment,
            fuel: options.fuel,
            max_output_bytes: options.max_output_bytes,
        })
    }

    /// Renders with the variables of a value tree.
    pub fn render(&self, context: &[u8]) -> Result<String, RenderError> {
        let context = tree::read(context).map_err(RenderError::Invalid)?;
        let mut output = LimitedOutput {
            bytes: Vec::new(),
            limit: self.max_output_bytes,
            is_full: false,
        };
        let template = self
            .environment
            .get_template(NAME)
            .map_err(|error| RenderError::Invalid(describe(&self.name, &error)))?;
        let result = template.render_captured_to(context, &mut output).map(drop);
        if output.is_full {
            return Err(RenderError::TooLarge(format!(
                "{}: output is over the limit of {} bytes",
                self.name, self.max_output_bytes
            )));
        }
        if let Err(error) = result {
            if chain(&error).any(|error| error.kind() == ErrorKind::OutOfFuel) {
                return Err(RenderError::TooLarge(format!(
                    "{}: the conversation needs more than {} template steps",
                    self.name, self.fuel
                )));
            }
            return Err(RenderError::Invalid(describe(&self.name, &error)));
        }
        String::from_utf8(output.bytes)
            .map_err(|_| RenderError::Invalid("the template wrote invalid UTF-8".into()))
    }
}

struct LimitedOutput {
    bytes: Vec<u8>,
    limit: usize,
    is_full: bool,
}

impl io::Write for LimitedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.bytes.len() {
            self.is_full = true;
            return Err(io::Error::other("output limit"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The error and the template errors that caused it.
fn chain(error: &Error) -> impl Iterator<Item = &Error> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    std::iter::from_fn(move || loop {
        let current = next?;
        next = current.source();
        if let Some(error) = current.downcast_ref::<Error>() {
            return Some(error);
        }
    })
}

fn raised(error: &Error) -> Option<&str> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = next {
        if let Some(raised) = current.downcast_ref::<Raised>() {
            return Some(&raised.0);
        }
        next = current.source();
    }
    None
}

fn describe(name: &str, error: &Error) -> String {
    if let Some(message) = raised(error) {
        return message.to_owned();
    }
    // The innermost error knows best what was wrong.
    let error = chain(error).last().unwrap_or(error);
    let place = match error.line() {
        Some(line) => format!("{name}:{line}"),
        None => name.to_owned(),
    };
    match error.detail() {
        Some(detail) => format!("{place}: {detail}"),
        None => format!("{place}: {}", error.kind()),
    }
}

fn new_environment(options: &Options) -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .expect("the default delimiters are valid");
    environment.set_syntax(syntax);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_fuel(Some(options.fuel));
    environment.set_formatter(|out, state, value| {
        if let Some(text) = value.as_str() {
            return Ok(out.write_str(text)?);
        }
        // An invalid value carries the error that made it.
        if value.kind() == ValueKind::Invalid {
            value.try_iter()?;
        }
        Ok(out.write_str(&python::str(state, value)?)?)
    });
    let first_mark = options.first_mark;
    environment.add_filter(
        "tojson",
        move |state: &State, value: &Value, args: Rest<Value>, kwargs: Kwargs| {
            let style = json_style(&args, &kwargs, first_mark)?;
            python::json_dumps(state, value, &style)
        },
    );
    environment.add_filter("string", |state: &State, value: &Value| {
        python::str(state, value)
    });
    environment.add_function(
        "raise_exception",
        |message: &Value| -> Result<Value, Error> {
            let message = message.to_string();
            Err(Error::new(ErrorKind::InvalidOperation, message.clone())
                .with_source(Raised(message)))
        },
    );
    environment.add_function("strftime_now", |format: &str| {
        crate::clock::strftime_now(format)
    });
    add_tests(&mut environment);
    environment
}

/// Tests that Jinja2 answers differently.
fn add_tests(environment: &mut Environment) {
    let is_big = |value: &Value| value.downcast_object_ref::<BigInteger>().is_some();
    environment.add_test("number", move |value: &Value| {
        is_big(value) || matches!(value.kind(), ValueKind::Number | ValueKind::Bool)
    });
    environment.add_test("integer", move |value: &Value| {
        is_big(value) || value.is_integer()
    });
    // Whatever has a length and can be indexed.
    environment.add_test("sequence", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::Seq | ValueKind::String | ValueKind::Map | ValueKind::Undefined
        )
    });
    environment.add_test("iterable", |value: &Value| {
        !value.is_none() && value.try_iter().is_ok()
    });
}

fn is_mark(c: char, first_mark: Option<char>) -> bool {
    first_mark.is_some_and(|first| c >= first || c == '\u{fdd0}' || c == '\u{fdd1}')
}

/// `tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
fn json_style(
    args: &[Value],
    kwargs: &Kwargs,
    first_mark: Option<char>,
) -> Result<JsonStyle, Error> {
    let argument = |position: usize, name: &str| -> Result<Option<Value>, Error> {
        let value = match args.get(position) {
            Some(value) => Some(value.clone()),
            None => kwargs.get::<Option<Value>>(name)?,
        };
        Ok(value.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let indent = match argument(1, "indent")? {
        None => None,
        Some(value) => Some(match (value.as_str(), value.as_usize()) {
            (Some(text), _) if text.len() <= 64 => text.to_owned(),
            (None, Some(width)) if width <= 64 => " ".repeat(width),
            _ => {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    "indent must be at most 64",
                ))
            }
        }),
    };
    let (mut item_separator, mut key_separator) = match indent {
        None => (", ".to_owned(), ": ".to_owned()),
        Some(_) => (",".to_owned(), ": ".to_owned()),
    };
    if let Some(separators) = argument(2, "separators")? {
        item_separator = separators.get_item_by_index(0)?.to_string();
        key_separator = separators.get_item_by_index(1)?.to_string();
    }
    let style = JsonStyle {
        ensure_ascii: argument(0, "ensure_ascii")?.is_some_and(|value| value.is_true()),
        indent,
        item_separator,
        key_separator,
        sort_keys: argument(3, "sort_keys")?.is_some_and(|value| value.is_true()),
        is_mark,
        first_mark,
    };
    kwargs.assert_all_used()?;
    Ok(style)
}
