use super::*;
use ledger::ident::Ident;
use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, mpsc},
};

const APP: &str = "11111111-2222-3333-4444-555555555555";
const CHANNEL: &str = "19:abc@thread.tacv2";

fn check(to: &str, expected: Place) {
    assert_eq!(place(to), expected, "{to}");
}

#[test]
fn places() {
    check("19:abc@thread.tacv2", Place::Channel);
    check("19:abc@thread.skype", Place::Channel);
    check("19:abc@thread.tacv2;messageid=17", Place::Conversation);
    check("19:abc@thread.v2", Place::Conversation);
    check("a:1x", Place::Conversation);
    check("29:1x", Place::Person);
    check(APP, Place::Person);
}

#[test]
fn ids_stay_one_segment() {
    assert!(plain_id("19:abc@thread.tacv2;messageid=17").is_ok());
    for bad in ["", "..", ".", "a b", "a\n", "ä"] {
        assert!(plain_id(bad).is_err(), "{bad:?}");
    }
}

/// A listener that answers each request by `answer(request line, body)`: status and headers, then JSON.
struct Fake {
    url: String,
    requests: mpsc::Receiver<String>,
}

fn fake(answer: impl Fn(&str, &str) -> (String, Value) + Send + 'static) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sent, requests) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let (mut request, mut part) = (Vec::new(), [0; 4096]);
            while !is_whole(&request) {
                let read = stream.read(&mut part).unwrap();
                request.extend_from_slice(&part[..read]);
            }
            let request = String::from_utf8(request).unwrap();
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let (status, json) = answer(head.lines().next().unwrap(), body);
            let json = json.to_string();
            let length = json.len();
            let whole = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{json}"
            );
            // Send before answering, so that a test that has the answer finds the request in the list.
            if sent.send(request).is_err() {
                return;
            }
            stream.write_all(whole.as_bytes()).unwrap();
        }
    });
    Fake { url, requests }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

/// A bot with passwords `old` and `new`, whose service is at `service`; its tokens come from `login`.
fn client(login: &str, service: &str) -> Client {
    let host = http::host_of(&Url::parse(service).unwrap());
    let options = Options {
        tenant: Ident::new("acme").unwrap(),
        app_id: APP.into(),
        directory: APP.into(),
        passwords: vec!["old".to_owned().into(), "new".to_owned().into()],
        token_url: String::new(),
        metadata_url: String::new(),
        service_hosts: vec![host],
        service_url: String::new(),
    };
    let url = |text: &str| Url::parse(text).unwrap();
    Client::new(options, url(&format!("{login}/token")), url(service), http::agent())
}

/// Microsoft's side: `old` is refused, messages get the id 17.
fn microsoft(line: &str, body: &str) -> (String, Value) {
    let ok = |json| ("200 OK".to_owned(), json);
    if line.starts_with("POST /token ") {
        if body.contains("client_secret=old") {
            return ("401 No".into(), json!({"error": "invalid_client"}));
        }
        return ok(json!({"access_token": "tok-1", "expires_in": 3600}));
    }
    if line.starts_with("POST /teams/v3/conversations ") {
        let id = if body.contains("activityId") || body.contains("\"activity\"") {
            CHANNEL
        } else {
            "a:chat"
        };
        return ok(json!({"id": id, "activityId": "17"}));
    }
    ok(
        json!({"id": "17", "members": [{"id": "29:a"}, {"id": "28:bot"}, {"id": 1}, {"id": "29:b"}]}),
    )
}

fn message() -> Value {
    json!({"type": "message"})
}

fn lines(fake: &Fake) -> Vec<String> {
    fake.requests.try_iter().map(|r| r.lines().next().unwrap().to_owned()).collect()
}

#[test]
fn one_token_for_many_messages_and_the_second_password() {
    let fake = fake(microsoft);
    let client = client(&fake.url, &format!("{}/teams/", fake.url));
    let posted = client.post(CHANNEL, &message()).unwrap();
    assert_eq!(posted, Posted { conversation: CHANNEL.into(), message: "17".into() });
    client.post("a:1", &message()).unwrap();
    client.post("29:kim", &message()).unwrap();
    client.update(&posted, &message()).unwrap();
    assert_eq!(client.members(CHANNEL, 60), ["29:a", "29:b"]);
    assert_eq!(client.members(CHANNEL, 60), ["29:a", "29:b"]);
    let expected = [
        "POST /token HTTP/1.1",
        "POST /token HTTP/1.1",
        "POST /teams/v3/conversations HTTP/1.1",
        "POST /teams/v3/conversations/a:1/activities HTTP/1.1",
        "POST /teams/v3/conversations HTTP/1.1",
        "POST /teams/v3/conversations/a:chat/activities HTTP/1.1",
        "PUT /teams/v3/conversations/19:abc@thread.tacv2/activities/17 HTTP/1.1",
        "GET /teams/v3/conversations/19:abc@thread.tacv2/pagedmembers?pageSize=60 HTTP/1.1",
    ];
    assert_eq!(lines(&fake), expected);
}

#[test]
fn a_token_goes_to_listed_hosts_and_along_no_redirect() {
    let catcher = fake(|_, _| ("200 OK".into(), json!({"id": "1", "activityId": "1"})));
    let to = format!("307 Go\r\nlocation: {}/teams/v3/conversations", catcher.url);
    let fake = fake(move |line, body| {
        if line.contains("/teams/") { (to.clone(), Value::Null) } else { microsoft(line, body) }
    });
    let first = client(&fake.url, &format!("{}/teams/", fake.url));
    assert_eq!(first.post(CHANNEL, &message()), Err(SendError::Refused("307".into())));
    // Wherever the URL came from, the host is checked again before the token is sent.
    let unlisted = Url::parse(&catcher.url).unwrap();
    let refused = first.call(Call::Post(&message()), &unlisted).err();
    assert!(matches!(refused, Some(SendError::Refused(_))), "{refused:?}");
    assert_eq!(catcher.requests.try_iter().count(), 0);
}

#[test]
fn a_token_that_is_not_taken_is_replaced_once() {
    let count = Arc::new(Mutex::new(0));
    let fake = fake(move |line, body| {
        if line.starts_with("POST /token ") {
            return microsoft(line, body);
        }
        *count.lock().unwrap() += 1;
        let status = if *count.lock().unwrap() == 2 { "201 Made" } else { "401 No" };
        (status.into(), json!({"id": "17"}))
    });
    let client = client(&fake.url, &format!("{}/teams/", fake.url));
    assert_eq!(client.post("a:1", &message()).unwrap().message, "17");
    assert_eq!(client.post("a:1", &message()), Err(SendError::Refused("401".into())));
    assert_eq!(lines(&fake).iter().filter(|line| line.starts_with("POST /token")).count(), 6);
}

#[test]
fn every_answer_says_what_to_do() {
    let answered = |status: &'static str| {
        let fake = fake(move |line, body| {
            if line.starts_with("POST /token ") {
                microsoft(line, body)
            } else {
                (status.to_owned(), json!({"error": {"code": "Code"}}))
            }
        });
        let client = client(&fake.url, &format!("{}/teams/", fake.url));
        let posted = Posted { conversation: "a:1".into(), message: "17".into() };
        (client.post("a:1", &message()).unwrap_err(), client.update(&posted, &message()))
    };
    let later = SendError::Later("429 Code".into(), Some(Duration::from_secs(7)));
    assert_eq!(answered("429 Slow\r\nretry-after: 7"), (later.clone(), Err(later)));
    let again = SendError::Later("412 Code".into(), None);
    assert_eq!(answered("412 No"), (again.clone(), Err(again)));
    let refused = SendError::Refused("403 Code".into());
    assert_eq!(answered("403 No"), (refused.clone(), Err(refused)));
    let gone = SendError::Locked("404 Code".into());
    assert_eq!(answered("404 No"), (SendError::Refused("404 Code".into()), Err(gone)));
    assert_eq!(answered("500 No"), (SendError::Unknown, Err(SendError::Unknown)));
    // Posted, but without an id by which to update it.
    assert_eq!(answered("201 Made").0, SendError::Unknown);
}

#[test]
fn without_a_token_nothing_is_sent() {
    let fake = fake(|_, _| ("401 No".into(), json!({"error": "invalid_client"})));
    let first = client(&fake.url, &format!("{}/teams/", fake.url));
    let refused = SendError::Refused("the app's password: 401 invalid_client".into());
    assert_eq!(first.post("a:1", &message()), Err(refused));
    assert_eq!(lines(&fake), ["POST /token HTTP/1.1", "POST /token HTTP/1.1"]);
    // Nobody listens.
    let nobody = client("http://127.0.0.1:9", "http://127.0.0.1:9/teams/");
    assert!(matches!(nobody.post("a:1", &message()), Err(SendError::Later(..))));
}
