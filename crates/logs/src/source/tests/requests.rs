//! Lines and JSON over HTTP, by curl.

use pillion_model::logs::{Listen, ListenProtocol};

use super::super::Source;
use super::received::*;
use crate::budget::Budget;

/// The status that curl got, for these arguments.
async fn curl(source: &Source, path: &str, args: &[&str]) -> (String, String) {
    let url = format!("http://{}{path}", at(source));
    let fixed = ["-s", "-S", "-m", "20", "-w", "\n%{http_code} %header{retry-after}", &url];
    let args: Vec<&str> = fixed.into_iter().chain(args.iter().copied()).collect();
    let out = command("curl", &args).await;
    let (body, status) = out.rsplit_once('\n').unwrap();
    (status.trim().to_owned(), body.to_owned())
}

#[tokio::test]
async fn curl_posts_lines_and_json_packed_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        format!("@{}", path.display())
    };
    let lines = file("lines", b"{\"a\":1}\n{\"a\":2}\n");
    let list = file("list", b"[{\"a\":3},\n {\"a\":4}]");
    let zstd = file("zstd", &zstd::encode_all(&b"five\nsix"[..], 1).unwrap());
    local(async {
        let source = start(&listen(ListenProtocol::Http));
        let json = ["-H", "content-type: application/json", "--data-binary", &list];
        let packed = ["-H", "content-encoding: zstd", "--data-binary", &zstd];
        for args in [&["--data-binary", &lines][..], &json, &packed] {
            assert_eq!(curl(&source, "/any/path", args).await, ("200".to_owned(), String::new()));
        }
        let first = chunk(&source).await;
        assert!(first.peer.is_some_and(|peer| peer.ip().is_loopback()), "{:?}", first.peer);
        assert_eq!(texts_of(&first), ["{\"a\":1}", "{\"a\":2}"]);
        let expected = ["{\"a\":3}", "{\"a\":4}", "five", "six"];
        assert_eq!(texts(&source, 4).await, expected);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_accepted_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    std::fs::write(&large, vec![b'x'; (8 << 20) + 1]).unwrap();
    let large = format!("@{}", large.display());
    local(async {
        let budget = Budget::new(2000);
        let source = Source::listen(&listen(ListenProtocol::Http), FRAMING, &budget).unwrap();
        let json = ["-H", "content-type: application/json", "-d", "{\"a\":"];
        for (args, status, reason) in [
            (&json[..], "400", "EOF while parsing"),
            (&["-X", "GET"], "405", "use POST"),
            (&["-H", "content-encoding: br", "-d", "x"], "415", "gzip, zstd"),
            (&["-H", "content-encoding: gzip", "-d", "x"], "400", "unpacked"),
            (&["-H", "expect:", "--data-binary", &large], "413", "larger than"),
        ] {
            let (found, body) = curl(&source, "/", args).await;
            assert_eq!(found, status, "{args:?}: {body}");
            assert!(body.contains(reason), "{body}");
        }
        let held = budget.take_anyway(2000);
        let (status, body) = curl(&source, "/", &["-d", "line"]).await;
        assert_eq!(status, "429 1", "{body}");
        drop(held);
        assert_eq!(curl(&source, "/", &["-d", "line"]).await.0, "200");
        assert_eq!(texts(&source, 1).await, ["line"]);
        assert_eq!((source.status().busy, source.status().bad), (1, 5));
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_idle_does_not_hold_up_the_end() {
    local(async {
        let source = start(&Listen { connections: 2, ..listen(ListenProtocol::Http) });
        let _idle = std::net::TcpStream::connect(at(&source)).unwrap();
        until("the connection", || source.status().connections == 1).await;
        assert_eq!(rest(&source).await, [""; 0]);
    })
    .await;
}
