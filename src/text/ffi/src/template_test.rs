//! Tests of `template`, against what Python and Jinja2 make of the same.

use crate::template::{Options, RenderError, Template};
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
    assert!(show("{{ big }} {{ big is number }} {{ big is string }}").ends_with("90 True False"));
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
