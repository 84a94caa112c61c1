//! What templates render to, in both languages.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pillion_model::secrets::TemplateLanguage::{self, Consul, Jinja};
use pillion_runtime::board::Secret;
use pillion_secrets::fetched::{Datum, Fetched, Lease};
use pillion_secrets::template::{MAX_OUTPUT, MAX_SOURCE, Need, Request, Template, Values};
use proptest::prelude::*;

fn fetched(data: &[(&str, &str)], version: Option<u64>) -> Fetched {
    let data = data.iter().map(|(key, value)| ((*key).to_owned(), Datum::from(*value)));
    let lease = Lease { id: "l/1".into(), duration: Duration::from_secs(3600), renewable: true };
    let lease = version.is_none().then_some(lease);
    Fetched { data: data.collect(), lease, version, at: SystemTime::UNIX_EPOCH }
}

/// A secret with values of every type.
fn typed() -> Fetched {
    let mut typed = fetched(&[("text", "5"), ("html", "<&>")], None);
    for (key, json) in [
        ("port", "5432"),
        ("zero", "0"),
        ("ratio", "2.50"),
        ("big", "12345678901234567890123"),
        ("on", "true"),
        ("off", "false"),
        ("none", "null"),
        ("deep", r#"{"n":1,"list":[1,"a",true,null,{"x":2.50}],"html":"<&>","empty":{}}"#),
        ("list", "[1,2,3]"),
    ] {
        typed.data.insert(key.to_owned(), Datum::Json(Secret::from(json)));
    }
    typed
}

fn request(path: &str) -> Request {
    Request { path: path.to_owned(), ..Request::default() }
}

fn values() -> Values {
    let mut app = fetched(
        &[
            ("user", "ada"),
            ("password", "p<&>\"w'd"),
            ("port", "5432"),
            ("empty", ""),
            ("lines", "one\ntwo\n\nthree"),
        ],
        None,
    );
    let nested = Secret::from(r#"{"list":["a","b","c"],"deep":{"x":"y"}}"#);
    app.data.insert("nested".to_owned(), Datum::Json(nested));
    let database = fetched(&[("user", "bob")], Some(3));
    let files = BTreeMap::from([("app.ini".to_owned(), Secret::from("[a]\nb=1\n"))]);
    Values {
        secrets: BTreeMap::from([
            (Arc::from("app"), app.clone()),
            (Arc::from("db"), database.clone()),
            (Arc::from("typed"), typed()),
        ]),
        requested: BTreeMap::from([
            (request("kv/app"), app),
            (request("kv/typed"), typed()),
            (request("secret/data/db"), database),
        ]),
        configs: BTreeMap::from([(Arc::from("etc"), files)]),
        env: HashMap::from([("APP".to_owned(), "app".to_owned()), ("EMPTY".into(), String::new())]),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    }
}

fn render(language: TemplateLanguage, text: &str) -> Result<String, String> {
    let template = Template::parse("app.tpl", text, language).map_err(|e| e.to_string())?;
    let rendered = template.render(&values()).map_err(|e| e.to_string())?;
    rendered.reveal_text().map(str::to_owned).ok_or_else(|| "no text".to_owned())
}

fn needs(language: TemplateLanguage, text: &str) -> Result<Vec<Need>, String> {
    let template = Template::parse("app.tpl", text, language).map_err(|e| e.to_string())?;
    template.needs(&values()).map_err(|e| e.to_string())
}

/// What consul-template 0.41 made of each template, recorded by running it over the same values;
/// `null` where it failed, or wrote `<no value>`.
#[test]
fn consul_templates_render_as_consul_template_renders_them() {
    let table: Vec<(String, Option<String>)> =
        serde_json::from_str(include_str!("consul_templates.json")).unwrap();
    assert!(table.len() > 100);
    let mut wrong = Vec::new();
    for (text, expected) in table {
        let found = render(Consul, &text);
        if found.as_ref().ok() != expected.as_ref() {
            wrong.push(format!("{text:?}\n  expected {expected:?}\n  found    {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn consul_templates_have_what_depends_on_the_answer() {
    for (text, expected) in [
        ("{{ timestamp }}", "2023-11-14T22:13:20Z"),
        ("{{ timestamp \"unix\" }}", "1700000000"),
        ("{{ with secret \"secret/data/db\" }}{{ .Data.metadata.version }}{{ end }}", "3"),
    ] {
        assert_eq!(render(Consul, text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn certificates_are_had_in_both_forms_of_pki_cert() {
    let mut values = values();
    let wanted = Request {
        path: "pki/issue/web".into(),
        data: vec![("common_name".into(), "a.test".into()), ("ttl".into(), "1h".into())],
        version: None,
    };
    let answer =
        fetched(&[("certificate", "C\n"), ("private_key", "K"), ("issuing_ca", "A")], None);
    values.requested.insert(wanted.clone(), answer);
    let text = "{{ with pkiCert \"/pki/issue/web\" \"ttl=1h\" \"common_name=a.test\" }}\
                {{ .Cert }}{{ .Key }}{{ .CA }} {{ .Data.Cert }}{{ end }}";
    let template = Template::parse("c", text, Consul).unwrap();
    assert_eq!(template.needs(&values).unwrap(), [Need::Request(wanted)]);
    assert_eq!(template.render(&values).unwrap().reveal(), b"CKA C");
}

#[test]
fn errors_name_the_place_and_the_way_out() {
    for (language, text, expected) in [
        (
            Consul,
            "a\n {{ toUper \"x\" }}",
            "app.tpl:2:5: there is no function toUper; did you mean toUpper?",
        ),
        (Consul, "{{ key \"a\" }}", "app.tpl:1:4: key cannot be used here: Consul is not read"),
        (Consul, "{{ file \"/etc/shadow\" }}", "files are not read with our rights"),
        (Consul, "{{ plugin \"sh\" }}", "commands are not run"),
        (
            Consul,
            "{{ with secret \"kv/app\" }}{{ .Data.pasword }}{{ end }}",
            "app.tpl:1:30: nothing is there to show",
        ),
        (Consul, "{{ secret \"kv/none\" }}", "secret: kv/none has not been fetched"),
        (Consul, "{{ if true }}x", "app.tpl:1:1: {{if}} is not ended"),
        (Consul, "{{ printf \"%d\" \"x\" }}", "printf: %d does not fit a text"),
        (
            Jinja,
            "a\n{{ secrets.app.pasword }}",
            "app.tpl:2:11: undefined value: `secrets.app.pasword`",
        ),
        (Jinja, "{{ secret(\"none\").x }}", "there is no secret none"),
        (Jinja, "{% if %}", "app.tpl:1:"),
        (Jinja, "{{ 'x'|nope }}", "unknown filter"),
    ] {
        let found = render(language, text).unwrap_err();
        assert!(found.contains(expected), "{text}\n  expected {expected}\n  found    {found}");
    }
}

#[test]
fn values_of_secrets_are_left_out_of_errors() {
    for (language, text) in [
        (Consul, "{{ with secret \"kv/app\" }}{{ index .Data .Data.lines | parseInt }}{{ end }}"),
        (Consul, "{{ with secret \"kv/app\" }}{{ parseInt .Data.port | printf \"%s\" }}{{ end }}"),
        (
            Consul,
            "{{ with secret \"kv/app\" }}{{ env .Data.port | mustEnv }}{{ mustEnv .Data.port }}{{ end }}",
        ),
        (Jinja, "{{ secrets.app[secrets.app.port] }}"),
        (Jinja, "{{ secret(\"app\")|attr(secrets.app.port)|int }}{{ secrets.app.lines|int }}"),
        (Jinja, "{{ secrets.app[secrets.typed.port|string] }}"),
        (Consul, "{{ with secret \"kv/typed\" }}{{ mustEnv (printf \"%s\" .Data.port) }}{{ end }}"),
    ] {
        let found = render(language, text).unwrap_err();
        assert!(!found.contains("5432") && !found.contains("three"), "{found}");
    }
}

#[test]
fn jinja_templates_render() {
    for (text, expected) in [
        ("{{ secrets.app.user }}:{{ secret('app').password }}\n", "ada:p<&>\"w'd\n"),
        ("{{ secrets[\"app\"][\"port\"] }} {{ version.db }} {{ env.APP }}", "5432 3 app"),
        ("{{ configs.etc['app.ini'] }}|{{ config(\"etc\")['app.ini'] }}", "[a]\nb=1\n|[a]\nb=1\n"),
        ("{{ secrets.app.user|b64encode }} {{ 'YWRh'|b64decode }}", "YWRh ada"),
        ("{{ 'abc'|sha256 }}", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("{{ secrets.app.nested.deep.x }}{{ ('[\"z\"]'|fromjson)[0] }}", "yz"),
        ("{% for k, v in secrets.app.nested.deep|items %}{{ k }}={{ v }}{% endfor %}", "x=y"),
        (
            "{{ secrets.typed.port + 1 }} {{ secrets.typed.big }} {{ secrets.typed.ratio }}",
            "5433 12345678901234567890123 2.5",
        ),
        (
            "{{ secrets.typed.port|tojson }}{{ secrets.typed.text|tojson }}{{ secrets.typed.none|tojson }}",
            "5432\"5\"null",
        ),
        (
            "{{ secrets.typed.deep|tojson }}",
            "{\"empty\": {}, \"html\": \"\\u003c\\u0026\\u003e\", \"list\": [1, \"a\", true, null, {\"x\": 2.5}], \"n\": 1}",
        ),
        (
            "{% if secrets.typed.on and not secrets.typed.off %}{{ secrets.typed.list[2] }}{% endif %}",
            "3",
        ),
        (
            "{{ secrets.app.user|upper|replace('A', 'x') }}{{ ' a '|trim }}{{ 'a,b'|split(',')|join('-') }}",
            "xDxaa-b",
        ),
        ("{{ secrets.app.none|default('d') }}{{ {'a': [1, 'b']}|tojson }}", "d{\"a\": [1, \"b\"]}"),
        ("{{ secrets.app.lines|indent(2) }}", "one\n  two\n\n  three"),
        ("{% raw %}{{ secrets.other.x }}{% endraw %}{# secrets.more.y #}", "{{ secrets.other.x }}"),
    ] {
        assert_eq!(render(Jinja, text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn needs_are_read_off_the_text() {
    let secret = |name: &str| Need::Secret(name.into());
    let config = |name: &str| Need::Config(name.into());
    let asked = |path: &str, version| Need::Request(Request { version, ..request(path) });
    for (language, text, expected) in [
        (
            Jinja,
            "{{ secrets.a.x }}{{ secret(\"b\").x }}{{ secrets['c'].y }}{{ secrets.a.z }}",
            vec![secret("a"), secret("b"), secret("c")],
        ),
        (
            Jinja,
            "{% if secrets.a.x == \"}} secrets.b\" %}{{ config('e')['f'] }}{% endif %}{{ configs.g }}",
            vec![secret("a"), config("e"), config("g")],
        ),
        (
            Jinja,
            "{% raw %}{{ secrets.a }}{% endraw %}{# secrets.b #}{{ 'secrets.c' }} secrets.d {{ x.secrets.e }}",
            vec![],
        ),
        (
            Consul,
            "{{ with secret \"/kv/a/\" }}{{ else }}{{ (secret \"kv/b?version=3\").Data }}{{ end }}{{ secret \"kv/a\" }}",
            vec![asked("kv/a", None), asked("kv/b", Some(3))],
        ),
        (
            Consul,
            "{{ define \"t\" }}{{ secret (printf \"kv/%s\" (env \"APP\")) }}{{ end }}",
            vec![asked("kv/app", None)],
        ),
    ] {
        assert_eq!(needs(language, text), Ok(expected), "{text}");
    }
}

#[test]
fn what_cannot_be_known_before_is_refused() {
    for (language, text) in [
        (Jinja, "{{ secret(env.APP).x }}"),
        (Jinja, "{% set s = secrets %}{{ s.app.user }}"),
        (Jinja, "{{ secrets[env.APP].x }}"),
        (Consul, "{{ $p := \"kv/app\" }}{{ secret $p }}"),
        (Consul, "{{ \"kv/app\" | secret }}"),
        (Consul, "{{ with secret \"kv/app\" }}{{ secret .Data.user }}{{ end }}"),
        (Consul, "{{ secret \"kv/app?list=true\" }}"),
    ] {
        let found = needs(language, text);
        assert!(found.as_ref().is_err_and(|e| e.starts_with("app.tpl:1:")), "{text}: {found:?}");
    }
}

#[test]
fn limits_hold() {
    let bomb = "{{ define \"x\" }}{{ template \"x\" . }}{{ end }}{{ template \"x\" 1 }}";
    let loops = "{{ range loop 50000 }}{{ range loop 50000 }}{{ end }}{{ end }}";
    let grows = "{{ $x := sprig_repeat 1000000 \"abcd\" }}{{ $x }}{{ $x }}{{ $x }}{{ $x }}{{ $x }}";
    let replaces = "{{ $x := sprig_repeat 100000 \"a\" }}{{ replaceAll \"a\" $x $x }}";
    for text in [bomb, loops, grows, replaces, "{{ loop 100001 }}", "{{ printf \"%99999d\" 1 }}"] {
        assert!(render(Consul, text).is_err(), "{text}");
    }
    let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(render(Consul, &format!("{{{{ {} }}}}", nested(50))).is_ok());
    assert!(render(Consul, &format!("{{{{ {} }}}}", nested(200))).is_err());
    let endless =
        "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}";
    assert!(render(Jinja, endless).is_err());
    for language in [Jinja, Consul] {
        let fits = "x".repeat(MAX_SOURCE);
        assert_eq!(render(language, &fits), Ok(fits.clone()));
        assert!(render(language, &(fits + "x")).is_err());
    }
    let half = format!("{{{{ sprig_repeat {} \"a\" }}}}", MAX_OUTPUT / 2);
    assert_eq!(render(Consul, &half.repeat(2)).map(|text| text.len()), Ok(MAX_OUTPUT));
    assert!(render(Consul, &(half.repeat(2) + "x")).is_err());
}

/// Text made of what templates are made of.
fn pieces() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "{{",
        "}}",
        "{{-",
        "-}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "/*",
        "*/",
        " ",
        "\n",
        "(",
        ")",
        "|",
        ".",
        ".Data",
        "$",
        "$x",
        ":=",
        "=",
        ",",
        "if ",
        "else ",
        "end",
        "range ",
        "with ",
        "define ",
        "template ",
        "block ",
        "\"t\"",
        "\"%d%s%q\"",
        "`",
        "'",
        "\\",
        "1",
        "-1",
        "1e9",
        "0x",
        "true",
        "nil",
        "printf ",
        "index ",
        "slice ",
        "secret \"kv/app\"",
        "toJSON ",
        "indent ",
        "loop ",
        "é",
        "secrets",
        ".app",
        "secret(",
        "raw",
        "endraw",
        "for x in ",
        "endfor",
        "[",
        "]",
        "eq ",
        "and ",
        "sprig_trunc ",
        "divide ",
        "parseJSON ",
        "regexReplaceAll ",
        "break",
        "executeTemplate ",
    ]);
    prop::collection::vec(words, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_text_makes_a_template_panic(text in prop_oneof![pieces(), any::<String>()]) {
        for language in [Jinja, Consul] {
            let _any_result = needs(language, &text);
            let _any_result = render(language, &text);
        }
    }
}
