use super::*;
use crate::cards::Says;
use crate::slack::Options;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
    sync::mpsc,
};
use zeroize::Zeroizing;

fn check_respond(api: &str, url: &str, may: bool) {
    let client = Client::new(api, "xoxb-1").unwrap();
    assert_eq!(client.may_respond_to(&Url::parse(url).unwrap()), may, "{url}");
}

#[test]
fn answers_go_to_slack_alone() {
    let (slack, fake) = ("https://slack.com/api", "http://127.0.0.1:4003/api");
    check_respond(slack, "https://hooks.slack.com/actions/T1/1/x", true);
    check_respond(slack, "https://hooks.slack-gov.com/actions/T1/1/x", true);
    check_respond(fake, "https://hooks.slack.com/actions/T1/1/x", false);
    check_respond(slack, "http://hooks.slack.com/actions/T1/1/x", false);
    check_respond(slack, "https://hooks.slack.com:8443/actions/T1/1/x", false);
    check_respond(slack, "https://hooks.slack.com@evil.example/x", false);
    check_respond(slack, "https://hooks.slack.com.evil.example/x", false);
    check_respond(slack, "https://slack.com/x", false);
    check_respond(slack, "http://127.0.0.1:4003/x", false);
    check_respond(fake, "http://127.0.0.1:4003/response/1", true);
    check_respond(fake, "http://127.0.0.1:4004/response/1", false);
    check_respond(fake, "http://169.254.169.254/latest", false);
}

/// A connection to a listener that gives one answer to every request, or closes without one.
async fn connection(answer: &'static str) -> (Connection, String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sent, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 64 << 10];
            let mut length = 0;
            // A head and a body of its length, as small requests on loopback come.
            while !is_whole(&request[..length]) {
                length += stream.read(&mut request[length..]).await.unwrap();
            }
            sent.send(String::from_utf8_lossy(&request[..length]).into_owned()).unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (open(&format!("{url}/api")), url, requests)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

fn open(api_url: &str) -> Connection {
    let secret = |text: &str| Zeroizing::new(text.to_owned());
    let options = Options {
        tenant: Ident::new("acme").unwrap(),
        app_id: "A1".into(),
        workspaces: vec!["T1".into()],
        bot_token: secret("xoxb-hidden"),
        signing_secrets: vec![secret("secret")],
        api_url: api_url.into(),
    };
    Connection::open(Ident::new("acme-slack").unwrap(), options).unwrap()
}

fn overflow() -> Overflow {
    let id = Ident::new("more-apr-1").unwrap();
    let says = Says::Waiting(12, Vec::new());
    Overflow { id, says, url: "https://log.example.com/".into(), short: false }
}

async fn check(answer: &'static str, expected: Result<Posted, SendError>) {
    let (connection, _, mut requests) = connection(answer).await;
    assert_eq!(connection.post_overflow("C1", &overflow()).await, expected, "{answer}");
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("POST /api/chat.postMessage HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Bearer xoxb-hidden\r\n"), "{request}");
    assert!(request.contains(r#""unfurl_links":false"#), "{request}");
}

#[tokio::test]
async fn every_answer_to_a_post_says_what_to_do() {
    let later = |seconds| Duration::from_secs(seconds);
    check(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 38\r\n\r\n\
         {\"ok\":true,\"channel\":\"C1\",\"ts\":\"1.2\"}\n",
        Ok(Posted { conversation: "C1".into(), message: "1.2".into() }),
    )
    .await;
    check(
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Type: application/json\r\nContent-Length: 34\r\n\r\n\
         {\"ok\":false,\"error\":\"ratelimited\"}",
        Err(SendError::Later("ratelimited".into(), Some(later(7)))),
    )
    .await;
    check(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 38\r\n\r\n\
         {\"ok\":false,\"error\":\"not_in_channel\"} \n",
        Err(SendError::Refused("not_in_channel".into())),
    )
    .await;
    for unknown in [
        "",
        // Not Slack's own: without a type the library takes an empty body for bad JSON.
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n<html",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"ok\":true}",
    ] {
        check(unknown, Err(SendError::Unknown)).await;
    }
}

#[tokio::test]
async fn whoever_is_not_reached_got_nothing() {
    // Bound, so that nobody else gets the port, and never listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let connection = open(&format!("http://{}/api", socket.local_addr().unwrap()));
    let posted = connection.post_overflow("C1", &overflow()).await;
    assert_eq!(posted, Err(SendError::Later("can't be reached".into(), None)));
}

#[tokio::test]
async fn a_response_url_never_gets_the_token() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
    let (connection, url, mut requests) = connection(ok).await;
    connection.respond(&format!("{url}/response/1"), "a < b").await.unwrap();
    let request = requests.recv().await.unwrap();
    assert!(request.contains(r#""text":"a &lt; b""#), "{request}");
    assert!(!request.contains("xoxb") && !request.contains("authorization"), "{request}");
}
