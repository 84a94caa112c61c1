//! The databases: those whose passwords are handed out, and the one of Kubernetes.

use std::process::Command;

use pillion_testkit::{Etcd, MariaDb, OpenBao, Postgres, python};
use serde_json::{Value, json};

#[test]
fn postgres_lets_those_in_who_know_a_password() {
    let postgres = Postgres::start();
    assert_eq!(postgres.sql("SELECT 1, 'a'"), "1|a");
    postgres.sql("CREATE ROLE app LOGIN PASSWORD 'right'");
    let select =
        |password: &str| postgres.sql_as(&postgres.dsn_of("app", password), "SELECT current_user");
    assert_eq!(select("right").unwrap(), "app");
    assert!(select("wrong").unwrap_err().contains("password authentication failed"));
    let script = "import psycopg, sys; print(psycopg.connect(sys.argv[1]).execute('SELECT 2').fetchone()[0])";
    assert_eq!(output_of_python(script, &postgres.dsn()), "2\n");
}

#[test]
fn mariadb_lets_those_in_who_know_a_password() {
    let mariadb = MariaDb::start();
    assert_eq!(mariadb.sql("SELECT 1, 'a'"), "1\ta");
    mariadb.sql("CREATE USER app IDENTIFIED BY 'right'");
    let select = |password: &str| mariadb.sql_as("app", password, "SELECT USER()");
    assert!(select("right").unwrap().starts_with("app@"));
    assert!(select("wrong").unwrap_err().contains("Access denied"));
    let script = "import pymysql, sys; host, port = sys.argv[1].split(':'); \
        cursor = pymysql.connect(host=host, port=int(port), user='admin', \
        password='superuser-password').cursor(); cursor.execute('SELECT 2'); print(cursor.fetchone()[0])";
    assert_eq!(output_of_python(script, &mariadb.address().to_string()), "2\n");
}

#[test]
fn etcd_gives_back_what_was_put() {
    let etcd = Etcd::start();
    // "key" and "value", in Base64.
    etcd.call("/v3/kv/put", &json!({"key": "a2V5", "value": "dmFsdWU="}));
    let found = etcd.call("/v3/kv/range", &json!({"key": "a2V5"}));
    assert_eq!(found["kvs"][0]["value"], "dmFsdWU=", "{found}");
}

#[test]
fn openbao_makes_users_of_both_databases() {
    let bao = OpenBao::start();
    let (postgres, mariadb) = (Postgres::start(), MariaDb::start());
    assert_eq!(bao.post("/v1/sys/mounts/database", &json!({"type": "database"})).status, 204);
    let cases: [(&str, &str, String, Value); 2] = [
        (
            "postgres",
            "postgresql-database-plugin",
            postgres.dsn().replace(
                &format!("{}:{}@", Postgres::SUPERUSER, Postgres::PASSWORD),
                "{{username}}:{{password}}@",
            ),
            json!(["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'"]),
        ),
        (
            "mariadb",
            "mysql-database-plugin",
            mariadb.dsn().replace(
                &format!("{}:{}@", MariaDb::SUPERUSER, MariaDb::PASSWORD),
                "{{username}}:{{password}}@",
            ),
            json!(["CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'"]),
        ),
    ];
    for (name, plugin, url, statements) in cases {
        let database = json!({
            "plugin_name": plugin,
            "connection_url": url,
            "username": if name == "postgres" { Postgres::SUPERUSER } else { MariaDb::SUPERUSER },
            "password": "superuser-password",
            "allowed_roles": "*",
        });
        let made = bao.post(&format!("/v1/database/config/{name}"), &database);
        assert!((200..300).contains(&made.status), "{made:?}");
        let role = json!({"db_name": name, "creation_statements": statements, "default_ttl": "1m"});
        assert_eq!(bao.post(&format!("/v1/database/roles/{name}"), &role).status, 204);
        let lease = bao.get(&format!("/v1/database/creds/{name}")).json();
        let word = |key: &str| lease["data"][key].as_str().unwrap();
        let (user, password) = (word("username"), word("password"));
        if name == "postgres" {
            let dsn = postgres.dsn_of(user, password);
            assert_eq!(postgres.sql_as(&dsn, "SELECT current_user").unwrap(), user);
        } else {
            assert_eq!(mariadb.sql_as(user, password, "SELECT 1").unwrap(), "1");
        }
    }
}

fn output_of_python(script: &str, argument: &str) -> String {
    let output = Command::new(python()).args(["-c", script, argument]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
