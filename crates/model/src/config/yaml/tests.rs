//! YAML to a tree: what is resolved, what is refused, and where each value stands.

use super::*;

/// The tree on one line, with the place of each scalar.
fn show(node: &Node) -> String {
    match &node.content {
        Content::Scalar { text, plain } => {
            let quote = if *plain { "" } else { "'" };
            format!(
                "{quote}{text}{quote}@{}:{}+{}",
                node.span.line, node.span.column, node.span.width
            )
        }
        Content::List(items) => {
            format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        Content::Mapping(entries) => {
            let show = |entry: &Entry| format!("{}={}", entry.key, show(&entry.node));
            format!("{{{}}}", entries.iter().map(show).collect::<Vec<_>>().join(" "))
        }
    }
}

fn check(text: &str, expect: &str) {
    let seen = match read(text) {
        Ok(Some(node)) => show(&node),
        Ok(None) => "nothing".to_owned(),
        Err((span, fault)) => format!("! {}:{} {}", span.line, span.column, fault.rule),
    };
    assert_eq!(seen, expect, "for {text:?}");
}

#[test]
fn values_keep_their_text_and_their_place() {
    check("", "nothing");
    check("# nothing\n", "nothing");
    check("a: 1.10", "{a=1.10@1:4+4}");
    check("a:\n  b: \"x\"\n", "{a={b='x'@2:6+3}}");
    check("ü: é # ö\nb: [x, 'y']", "{ü=é@1:4+1 b=[x@2:5+1 'y'@2:8+3]}");
    check("a: off\nb: no\nc: ~", "{a=off@1:4+3 b=no@2:4+2 c=~@3:4+1}");
    check("a: 1\na: 2", "{a=1@1:4+1 a=2@2:4+1}");
}

#[test]
fn aliases_and_merge_keys_are_resolved() {
    check("a: &x 1\nb: *x", "{a=1@1:4+4 b=1@1:4+4}");
    check(
        "a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}",
        "{a={k=1@1:11+1 l=2@1:17+1} b={k=3@2:16+1 l=2@1:17+1}}",
    );
    check(
        "a: &x {k: 1}\nb: &y {k: 2, l: 2}\nc: {<<: [*x, *y]}",
        "{a={k=1@1:11+1} b={k=2@2:11+1 l=2@2:17+1} c={k=1@1:11+1 l=2@2:17+1}}",
    );
    check("b: {<<: 1}", "{b={<<=1@1:9+1}}");
}

#[test]
fn what_is_no_configuration_is_refused_where_it_stands() {
    check("a: *nowhere", "! 1:4 this is not YAML: while parsing node, found unknown anchor");
    check("a: &a [*a]", "! 1:8 this alias stands inside its own anchor");
    check("a: !!str b", "! 1:4 YAML tags are not supported");
    check("? [a]\n: b", "! 1:3 a key is a piece of text, not a list or a mapping");
    check("a: 1\n---\nb: 2", "! 2:1 a second YAML document begins here");
}

#[test]
fn the_32nd_level_is_read_and_the_33rd_is_not() {
    let nested = |levels: usize| format!("{}x{}", "[".repeat(levels), "]".repeat(levels));
    assert!(read(&nested(32)).is_ok());
    check(&nested(33), "! 1:33 the document is nested more than 32 levels deep");
    let through_alias = format!("a: &a {}\nb: {}", nested(20), nested(20).replace('x', "*a"));
    check(&through_alias, "! 2:24 the document is nested more than 32 levels deep");
}

#[test]
fn aliases_of_aliases_end_at_the_limit_of_values() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let last = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", [last.as_str(); 10].join(", ")));
    }
    let (_, fault) = read(&text).unwrap_err();
    assert_eq!(fault.rule, "the document has more than 200000 values");
}
