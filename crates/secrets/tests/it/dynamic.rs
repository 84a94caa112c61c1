//! Secrets with a lease, and certificates.

use std::time::{Duration, SystemTime};

use pillion_secrets::bao::Trouble;
use pillion_secrets::broker::Held;
use pillion_secrets::lease::{Life, Step};
use pillion_testkit::{MariaDb, OpenBao, Postgres};
use serde_json::json;

use crate::bed::{Files, Ride, approle, eventually, post, server, text, write_source};

fn postgres_role(bao: &OpenBao, postgres: &Postgres, ttl: &str, max_ttl: &str) {
    post(bao, "/v1/sys/mounts/database", &json!({"type": "database"}));
    let dsn = postgres.dsn_of("{{username}}", "{{password}}");
    let config = json!({
        "plugin_name": "postgresql-database-plugin",
        "allowed_roles": "*",
        "connection_url": dsn,
        "username": Postgres::SUPERUSER,
        "password": Postgres::PASSWORD,
    });
    post(bao, "/v1/database/config/main", &config);
    let create =
        "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    let role = json!({
        "db_name": "main",
        "creation_statements": [create],
        "default_ttl": ttl,
        "max_ttl": max_ttl,
    });
    post(bao, "/v1/database/roles/app", &role);
}

#[tokio::test]
async fn credentials_of_postgresql_are_leased_renewed_without_new_data_and_revoked() {
    let (bao, files, postgres) = (OpenBao::start(), Files::new(), Postgres::start());
    postgres_role(&bao, &postgres, "60s", "90s");
    let ride = Ride::start(&server(&bao.url(), approle(&bao, &files, 600, 3600)));
    let (one, two) =
        tokio::join!(ride.fetch("database/creds/app"), ride.fetch("database/creds/app"));
    let (one, two) = (one.unwrap(), two.unwrap());
    let name = text(&one.fetched, "username");
    assert_eq!(name, text(&two.fetched, "username"), "who asks together gets one");
    let dsn = postgres.dsn_of(&name, &text(&one.fetched, "password"));
    assert_eq!(postgres.sql_as(&dsn, "SELECT 1").unwrap(), "1");

    let lease = one.fetched.lease.clone().unwrap();
    assert_eq!((lease.duration, lease.renewable), (Duration::from_secs(60), true));
    let mut life = Life::new(&one.fetched, Duration::from_secs(300), 0.5, 0.0);
    let (id, asked) = life.renewal().unwrap();
    let renewed = ride.broker.renew(id, asked).await.unwrap();
    assert_eq!(renewed.id, lease.id);
    life.renewed(SystemTime::now(), &renewed, 0.0);
    assert_eq!(life.due().what, Step::Renew);
    // More than its greatest age is not granted: it has to be replaced.
    let capped = ride.broker.renew(&lease.id, Duration::from_secs(600)).await.unwrap();
    assert!(capped.duration <= Duration::from_secs(90), "{capped:?}");

    ride.broker.revoke(&lease.id).await.unwrap();
    eventually("the end", || postgres.sql_as(&dsn, "SELECT 1").is_err()).await;
    let gone = ride.broker.renew(&lease.id, asked_again()).await.unwrap_err();
    assert!(matches!(gone.error.trouble, Trouble::LeaseGone), "{gone}");
    assert_eq!(
        gone.to_string(),
        "cannot renew the lease of database/creds/app: the lease has ended or was revoked"
    );
    ride.broker.revoke(&lease.id).await.expect("what has ended may be ended again");
}

fn asked_again() -> Duration {
    Duration::from_secs(60)
}

#[tokio::test]
async fn a_lease_at_its_greatest_age_is_replaced_while_it_holds() {
    let (bao, files, postgres) = (OpenBao::start(), Files::new(), Postgres::start());
    postgres_role(&bao, &postgres, "20s", "20s");
    let ride = Ride::start(&server(&bao.url(), approle(&bao, &files, 600, 3600)));
    let held = ride.fetch_eventually("database/creds/app").await;
    let dsn = postgres.dsn_of(&text(&held.fetched, "username"), &text(&held.fetched, "password"));
    let mut life = Life::new(&held.fetched, Duration::from_secs(300), 0.1, 0.5);
    let mut renewals = 0;
    while life.due().what == Step::Renew {
        let wait = life.due().at.duration_since(SystemTime::now()).unwrap_or_default();
        tokio::time::sleep(wait).await;
        let (id, asked) = life.renewal().unwrap();
        let renewed = ride.broker.renew(id, asked).await.unwrap();
        life.renewed(SystemTime::now(), &renewed, 0.5);
        renewals += 1;
    }
    assert!((1..=2).contains(&renewals), "{renewals}");
    assert_eq!(postgres.sql_as(&dsn, "SELECT 1").unwrap(), "1", "the old one still works");
    let next = ride.fetch_eventually("database/creds/app").await;
    assert_ne!(text(&held.fetched, "username"), text(&next.fetched, "username"));
}

#[tokio::test]
async fn credentials_of_mariadb_work_until_they_are_revoked() {
    let (bao, files, mariadb) = (OpenBao::start(), Files::new(), MariaDb::start());
    post(&bao, "/v1/sys/mounts/database", &json!({"type": "database"}));
    let config = json!({
        "plugin_name": "mysql-database-plugin",
        "allowed_roles": "*",
        "connection_url": format!("{{{{username}}}}:{{{{password}}}}@tcp({})/", mariadb.address()),
        "username": MariaDb::SUPERUSER,
        "password": MariaDb::PASSWORD,
    });
    post(&bao, "/v1/database/config/main", &config);
    let create = "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'";
    let role = json!({"db_name": "main", "creation_statements": [create], "default_ttl": "60s"});
    post(&bao, "/v1/database/roles/app", &role);
    let ride = Ride::start(&server(&bao.url(), approle(&bao, &files, 600, 3600)));
    let held = ride.fetch_eventually("database/creds/app").await;
    let (name, password) = (text(&held.fetched, "username"), text(&held.fetched, "password"));
    assert_eq!(mariadb.sql_as(&name, &password, "SELECT 1").unwrap(), "1");
    ride.broker.revoke(&held.fetched.lease.as_ref().unwrap().id).await.unwrap();
    eventually("the end", || mariadb.sql_as(&name, &password, "SELECT 1").is_err()).await;
}

#[tokio::test]
async fn a_certificate_is_replaced_before_the_end_that_is_written_in_it() {
    let (bao, files) = (OpenBao::start(), Files::new());
    post(&bao, "/v1/sys/mounts/pki", &json!({"type": "pki"}));
    post(&bao, "/v1/pki/root/generate/internal", &json!({"common_name": "test", "ttl": "1h"}));
    let role = json!({"allow_any_name": true, "max_ttl": "1h"});
    post(&bao, "/v1/pki/roles/web", &role);
    let ride = Ride::start(&server(&bao.url(), approle(&bao, &files, 600, 3600)));
    let wanted = write_source("pki/issue/web", &[("common_name", "app.test"), ("ttl", "10m")]);
    let before = SystemTime::now();
    let issued = ride.broker.fetch(&wanted).await.unwrap().fetched;
    assert!(text(&issued, "private_key").contains("PRIVATE KEY"));
    let lease = issued.lease.clone().unwrap();
    let minutes = lease.duration.as_secs_f64() / 60.0;
    assert!((9.9..=10.1).contains(&minutes), "{lease:?}");
    assert!(lease.id.is_empty() && !lease.renewable, "{lease:?}");
    let life = Life::new(&issued, Duration::from_secs(300), 0.5, 0.0);
    assert_eq!(life.due().what, Step::Replace);
    let minutes = life.due().at.duration_since(before).unwrap().as_secs_f64() / 60.0;
    assert!((4.9..=5.2).contains(&minutes), "{minutes}");
}

#[tokio::test]
async fn a_database_that_is_down_is_not_a_server_that_is_down() {
    let (bao, files, mut postgres) = (OpenBao::start(), Files::new(), Postgres::start());
    postgres_role(&bao, &postgres, "60s", "90s");
    bao.put_secret("db", &json!({"password": "one"}));
    let ride = Ride::start(&server(&bao.url(), approle(&bao, &files, 600, 3600)));
    ride.fetch_eventually("database/creds/app").await;
    postgres.peer.end(pillion_testkit::Signal::SIGQUIT);
    let failure = ride.fetch("database/creds/app").await.unwrap_err();
    assert!(matches!(failure.error.trouble, Trouble::Failed { status: 500, .. }), "{failure}");
    assert!(!failure.to_string().contains(Postgres::PASSWORD), "{failure}");
    assert_eq!(text(&ride.fetch("secret/db").await.unwrap().fetched, "password"), "one");
}

#[tokio::test]
async fn a_new_login_costs_no_credentials_until_their_token_is_released() {
    let (bao, files, postgres) = (OpenBao::start(), Files::new(), Postgres::start());
    postgres_role(&bao, &postgres, "60s", "90s");
    let mut server = server(&bao.url(), approle(&bao, &files, 30, 30));
    server.renew_at = 0.1;
    let ride = Ride::start(&server);
    let old = ride.fetch_eventually("database/creds/app").await;
    let first = ride.tokens.current().unwrap();
    assert_eq!(old.session, first.id);
    ride.session_after(Some(&first)).await;
    let works = |held: &Held| {
        let (name, password) = (text(&held.fetched, "username"), text(&held.fetched, "password"));
        postgres.sql_as(&postgres.dsn_of(&name, &password), "SELECT 1").is_ok()
    };
    assert!(works(&old), "a new login ended the credentials");
    let bound = ride.tokens.watch().borrow().end_of(old.session, SystemTime::now());
    let bound = bound.expect("they end with their token");
    let mut life = Life::new(&old.fetched, Duration::from_secs(300), 0.5, 0.0);
    life.bounded(SystemTime::now(), bound, 0.5);
    assert_eq!(life.due().what, Step::Replace);
    assert!(life.due().at < bound);
    let new = ride.fetch_eventually("database/creds/app").await;
    assert!(new.session > old.session && works(&new));
    ride.tokens.release(old.session).await;
    eventually("the end of the old credentials", || !works(&old)).await;
    assert!(works(&new));
}
