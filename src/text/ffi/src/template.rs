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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::build::{big, double, int, list, map, string};

    fn options() -> Options {
        Options {
            fuel: 1_000_000,
            max_output_bytes: 1 << 20,
            first_mark: None,
        }
    }

    fn render_with(source: &str, variables: &[(&str, Vec<u8>)]) -> Result<String, RenderError> {
        Template::load("test", source, options())
            .expect("the template is valid")
            .render(&map(variables))
    }

    fn render(source: &str) -> String {
        render_with(source, &[]).expect("the template renders")
    }

    #[test]
    fn blocks_are_trimmed_as_in_transformers() {
        assert_eq!(render("  {% if true %}\n  a\n  {% endif %}\nb\n"), "  a\nb");
        assert_eq!(render("{%- set x = 1 -%}\n\n{{ x }}"), "1");
    }

    #[test]
    fn prints_what_python_prints() {
        let variables = [
            (
                "v",
                map(&[
                    ("n", b"n".to_vec()),
                    ("t", b"t".to_vec()),
                    ("s", string("it's \"é\"\n")),
                    ("l", list(&[int(1), double(1.0), string("a'b")])),
                ]),
            ),
            (
                "big",
                big("123456789012345678901234567890123456789012345678901234567890"),
            ),
            ("f", double(1e16)),
        ];
        let show = |source: &str| render_with(source, &variables).unwrap();
        assert_eq!(
            show("{{ v }}"),
            r#"{'n': None, 't': True, 's': 'it\'s "é"\n', 'l': [1, 1.0, "a'b"]}"#
        );
        assert_eq!(
            show("{{ none }}|{{ true }}|{{ f }}|{{ 0.1 + 0.2 }}"),
            "None|True|1e+16|0.30000000000000004"
        );
        assert_eq!(
            show("{{ v.missing }}|{{ v.l|string }}"),
            "|[1, 1.0, \"a'b\"]"
        );
        assert_eq!(show("{{ v.items()|list }}").chars().next(), Some('['));
        assert!(
            show("{{ big }} {{ big is number }} {{ big is string }}").ends_with("90 True False")
        );
        assert_eq!(show("{{ (1,) }} {{ (1, 'a') }}"), "(1,) (1, 'a')");
    }

    #[test]
    fn tojson_is_json_dumps() {
        let variables = [(
            "v",
            map(&[
                ("z", list(&[])),
                ("a", string("<b>&'\u{7f}é\u{1F680}\u{1}")),
                (
                    "f",
                    list(&[
                        double(1.0),
                        double(-0.0),
                        double(1e-5),
                        double(f64::NAN),
                        int(10),
                    ]),
                ),
                (
                    "b",
                    big("100000000000000000000000000000000000000000000000000"),
                ),
                ("e", map(&[])),
            ]),
        )];
        let show = |source: &str| render_with(source, &variables).unwrap();
        assert_eq!(
            show("{{ v|tojson }}"),
            "{\"z\": [], \"a\": \"<b>&'\u{7f}é\u{1F680}\\u0001\", \"f\": [1.0, -0.0, 1e-05, NaN, 10], \
             \"b\": 100000000000000000000000000000000000000000000000000, \"e\": {}}"
        );
        assert_eq!(
            show("{{ v|tojson }}"),
            show("{{ v|tojson(ensure_ascii=False) }}")
        );
        assert_eq!(
            show("{{ v.a|tojson(ensure_ascii=True) }}"),
            "\"<b>&'\u{7f}\\u00e9\\ud83d\\ude80\\u0001\""
        );
        assert_eq!(
            show("{{ {'b': [1, {}], 'a': []}|tojson(indent=2, sort_keys=true) }}"),
            "{\n  \"a\": [],\n  \"b\": [\n    1,\n    {}\n  ]\n}"
        );
        assert_eq!(show("{{ [1, 2]|tojson(separators=(',', ':')) }}"), "[1,2]");
        assert_eq!(
            show("{{ {2: none, true: 2.5}|tojson }}"),
            "{\"2\": null, \"true\": 2.5}"
        );
        assert!(render_with("{{ nothing|tojson }}", &[]).is_err());
        assert!(render_with("{{ 1|tojson(width=3) }}", &[]).is_err());
    }

    #[test]
    fn tests_answer_as_jinja2() {
        let variables = [
            ("s", string("x")),
            ("m", map(&[("k", int(1))])),
            ("l", list(&[])),
            ("n", b"n".to_vec()),
        ];
        for (expression, answer) in [
            ("s is string", true),
            ("s is not string", false),
            ("m is mapping", true),
            ("m is iterable", true),
            ("l is mapping", false),
            ("l is iterable and l is not mapping", true),
            ("s is iterable", true),
            ("s is sequence", true),
            ("m is sequence", true),
            ("n is iterable", false),
            ("n is none", true),
            ("u is none", false),
            ("u is defined", false),
            ("m.nothing is undefined", true),
            ("true is number", true),
            ("true is integer", false),
            ("1.0 is float", true),
            ("'k' in m", true),
            ("l", false),
            ("u", false),
        ] {
            let source = format!("{{{{ 'yes' if {expression} else 'no' }}}}");
            let text = render_with(&source, &variables).unwrap();
            assert_eq!(text, if answer { "yes" } else { "no" }, "{expression}");
        }
        assert!(render_with("{{ u.x.y }}", &variables).is_err());
        assert!(render_with("{{ u.x }}", &variables).is_err());
    }

    #[test]
    fn methods_win_over_keys_of_the_same_name() {
        let arguments = map(&[("items", int(1)), ("get", int(2)), ("keys", int(3))]);
        let source = "{% for k, v in a.items() %}{{ k }}={{ v }};{% endfor %}{{ a.get('get') }}";
        assert_eq!(
            render_with(source, &[("a", arguments)]).unwrap(),
            "items=1;get=2;keys=3;2"
        );
    }

    #[test]
    fn exceptions_carry_their_message() {
        match render_with("{% if true %}{{ raise_exception('No!') }}{% endif %}", &[]) {
            Err(RenderError::Invalid(message)) => assert_eq!(message, "No!"),
            other => panic!("{other:?}"),
        }
        match render_with(
            "{% macro m() %}{{ raise_exception('In!') }}{% endmacro %}{{ m() }}",
            &[],
        ) {
            Err(RenderError::Invalid(message)) => assert_eq!(message, "In!"),
            other => panic!("{other:?}"),
        }
        let error = Template::load("bad.jinja", "a\n{% if %}", options())
            .err()
            .unwrap();
        assert!(error.starts_with("bad.jinja:2: "), "{error}");
    }

    #[test]
    fn limits_hold() {
        let too_large =
            |source: &str| matches!(render_with(source, &[]), Err(RenderError::TooLarge(_)));
        assert!(too_large(
            "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}"
        ));
        assert!(too_large(
            "{% for a in range(2000) %}{{ 'x' * 1000 }}{% endfor %}"
        ));
        // Doubling: memory is paid for in fuel.
        assert!(too_large(
            "{% set n = namespace(x='xxxxxxxx') %}\
             {% for a in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}"
        ));
        // Lists that hold the same list twice, written out.
        assert!(too_large(
            "{% set n = namespace(x=[1]) %}\
             {% for a in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x|tojson }}"
        ));
        assert!(too_large(
            "{% set n = namespace(x=[1]) %}\
             {% for a in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}"
        ));
        // Too deep to walk: an error, not the end of the stack.
        assert!(render_with(
            "{% set n = namespace(x=[1]) %}\
             {% for a in range(1000) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}",
            &[]
        )
        .is_err());
        assert!(render_with("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", &[]).is_err());
        assert!(Template::load(
            "t",
            &format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000)),
            options()
        )
        .is_err());
    }

    #[test]
    fn the_sandbox_has_no_files() {
        assert!(Template::load("t", "{% include '/etc/passwd' %}", options()).is_err());
        assert!(render_with("{{ ''.__class__.__mro__ }}", &[]).is_err());
    }
}
