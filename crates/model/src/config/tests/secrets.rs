//! The section `secrets`: what it means, and what is wrong with it.

use std::path::PathBuf;
use std::time::Duration;

use super::{Overrides, parse, read};
use crate::secrets::*;

#[test]
fn what_delivers_nothing_is_no_role() {
    assert_eq!(read("").roles.secrets, None);
    assert_eq!(read("secrets: {readiness: {wait: false}}").roles.secrets, None);
}

#[test]
fn what_is_written_is_what_it_means() {
    let secrets = read(
        "
secrets:
  server:
    url: https://bao:8200
    auth: {method: approle, role_id_file: /role, secret_id_file: /secret, wrapped: true}
  secrets:
    database: {path: /v1/database/creds/shop}
    web: {path: pki/issue/web, data: {common_name: shop}}
  configs:
    flags: {etcd: 'http://etcd:2379', prefix: /shop/}
  sets:
    shop:
      directory: /run/shop
      files:
        password: {secret: database, key: password}
        all.json: {secret: database, mode: 0440, owner: shop}
        app.conf: {template: /etc/app.conf.ctmpl}
        url: {text: \"postgres://{{ secrets.database.username }}\\n\"}
        flags: {config: flags}
      checks:
        - {json: all.json}
        - {json: flags/a.json, schema: /schema.json}
        - {command: [/bin/true, -x]}
      tell: {signal: SIGHUP}
      confirm: {url: 'http://127.0.0.1:8080/ready'}
  environment: {variables: {DB_PASSWORD: {secret: database, key: password}}, restart: true}
  api: {listen: unix:/run/bao.sock}
  cache: {file: /cache, key_file: /key}
",
    )
    .roles
    .secrets
    .unwrap();
    let server = secrets.server.as_ref().unwrap();
    assert_eq!(
        server.auth,
        Auth::AppRole {
            mount: "approle".to_owned(),
            role_id: PathBuf::from("/role"),
            secret_id: Some(PathBuf::from("/secret")),
            wrapped: true,
            remove: false,
        }
    );
    assert!((server.renew_at - 0.67).abs() < 1e-9);
    assert_eq!(secrets.secrets[0].path, "database/creds/shop");
    assert_eq!(secrets.secrets[1].data, [("common_name".to_owned(), "shop".to_owned())]);
    let set = &secrets.sets[0];
    assert_eq!((set.tell.clone(), set.keep), (Tell::Signal(1), 1));
    assert_eq!(set.checks.len(), 3);
    let [all, conf, flags, password, url] = set.files.as_slice() else { panic!("{:?}", set.files) };
    assert_eq!((all.mode, password.mode), (0o440, 0o400));
    assert_eq!(all.owner, Some(("shop".to_owned(), String::new())));
    assert_eq!(flags.content, Content::Config("flags".into()));
    let Content::Template(template) = &conf.content else { panic!("{:?}", conf.content) };
    assert_eq!(template.language, TemplateLanguage::Consul);
    let Content::Template(template) = &url.content else { panic!("{:?}", url.content) };
    assert_eq!(template.language, TemplateLanguage::Jinja);
    assert!(!format!("{template:?}").contains("postgres"));
    assert_eq!(secrets.environment.variables.len(), 1);
    assert_eq!(secrets.environment.confirm_timeout, Duration::from_secs(60));
}

#[test]
fn what_does_not_fit_is_said_with_its_place() {
    let server = "server: {url: 'http://b:8200', auth: {file: /t}}";
    let set =
        |set: &str| format!("{server}\n  secrets: {{db: {{path: kv/db}}}}\n  sets: {{s: {set}}}");
    for (text, message) in [
        ("secrets: {a: {path: b}}".to_owned(), "nothing is done with them"),
        (
            "configs: {c: {etcd: 'http://e:2379', prefix: /p, key: /k}}\n  \
             sets: {s: {directory: /d, files: {a: {config: c}}}}"
                .to_owned(),
            "secrets.configs.c.key: has no effect without certificate",
        ),
        (
            "configs: {c: {files: /f, ca: /ca}}\n  \
             sets: {s: {directory: /d, files: {a: {config: c}}}}"
                .to_owned(),
            "secrets.configs.c.ca: has no effect without http or etcd",
        ),
        ("api: {listen: 0.0.0.0:8200}".to_owned(), "is not a loopback address"),
        ("api: {listen: 127.0.0.1:8200}".to_owned(), "no server that secrets could come from"),
        (set("{files: {a: {secret: db}}}"), "a set of files has a folder"),
        (set("{directory: /d}"), "a set has at least one file"),
        (set("{directory: /d, files: {../a: {secret: db}}}"), "is not a name within the folder"),
        (set("{directory: /d, files: {a: {secret: bd}}}"), "did you mean db?"),
        (set("{directory: /d, files: {a: {secret: db, mode: 0444}}}"), "lets everybody at the file"),
        (set("{directory: /d, files: {a: {}}}"), "exactly one of secret, config, template and text"),
        (
            set("{directory: /d, files: {a: {secret: db}}, checks: [{json: b}]}"),
            "the set has no file b",
        ),
        (
            set("{directory: /d, files: {a: {secret: db}}, tell: {signal: KILL}}"),
            "is not a signal that an app is told by",
        ),
        (
            set("{directory: /d, files: {a: {secret: db}}, tell: {signal: HUP, restart: true}}"),
            "the app is told by one of",
        ),
        (
            "server: {url: 'http://b', auth: {method: jwt, file: /t}}\n  api: {listen: unix:/s}"
                .to_owned(),
            "this method needs role",
        ),
        (
            "server: {url: 'http://b', auth: {file: /t, role_id_file: /r}}\n  api: {listen: unix:/s}"
                .to_owned(),
            "has no effect without method: approle",
        ),
    ] {
        let problems =
            parse("p.yaml", &format!("secrets:\n  {text}"), &Overrides::default()).unwrap_err();
        let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(all.iter().any(|problem| problem.contains(message)), "{text}: {all:#?}");
        assert_eq!(all.len(), 1, "{text}: {all:#?}");
    }
}

#[test]
fn limits_have_keys_defaults_and_bounds() {
    let read = |text: &str| {
        let base = "secrets:\n  server: {url: 'http://b', auth: {file: /t}ANSWER}\n  api: {listen: unix:/sAPI}\n";
        let [answer, api, limits] = text.split('|').collect::<Vec<_>>().try_into().unwrap();
        let base = base.replace("ANSWER", answer).replace("API", api);
        parse("p.yaml", &format!("{base}  limits: {{{limits}}}\n"), &Overrides::default())
    };
    let found = |text: &str| {
        let secrets = read(text).unwrap().roles.secrets.unwrap();
        let api = secrets.api.as_ref().unwrap();
        let answer = secrets.server.as_ref().unwrap().answer_bytes;
        (answer, api.entries, api.kept_bytes, api.body_bytes, api.connections, secrets.limits)
    };
    let limits = |files, bytes| Limits { files, bytes };
    assert_eq!(found("||"), (4 << 20, 1000, 16 << 20, 1 << 20, 64, limits(1024, 16 << 20)));
    let least = ", answer_bytes: 1KiB|, entries: 0, kept_bytes: 0B, body_bytes: 1KiB, connections: 1|files: 1, bytes: 1KiB";
    assert_eq!(found(least), (1024, 0, 0, 1024, 1, limits(1, 1024)));
    let most = ", answer_bytes: 256MiB|, entries: 100000, kept_bytes: 1GiB, body_bytes: 256MiB, connections: 10000|files: 16384, bytes: 1GiB";
    let (large, huge) = (256 << 20, 1 << 30);
    assert_eq!(found(most), (large, 100_000, huge, large, 10_000, limits(16_384, huge)));
    for (text, key) in [
        (", answer_bytes: 1023B||", "server.answer_bytes"),
        (", answer_bytes: 257MiB||", "server.answer_bytes"),
        ("|, entries: 100001|", "api.entries"),
        ("|, kept_bytes: 1025MiB|", "api.kept_bytes"),
        ("|, body_bytes: 1023B|", "api.body_bytes"),
        ("|, body_bytes: 257MiB|", "api.body_bytes"),
        ("|, connections: 0|", "api.connections"),
        ("|, connections: 10001|", "api.connections"),
        ("||files: 0", "limits.files"),
        ("||files: 16385", "limits.files"),
        ("||bytes: 1023B", "limits.bytes"),
        ("||bytes: 1025MiB", "limits.bytes"),
    ] {
        let problems = read(text).unwrap_err();
        let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(all.len() == 1 && all[0].contains(&format!("secrets.{key}")), "{text}: {all:#?}");
    }
}
