//! A mail server for tests: a real SMTP conversation on a free port, with answers that a test may change.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};

/// A mail as the server took it.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) from: String,
    pub(crate) to: String,
    /// Headers and body, dots unstuffed.
    pub(crate) data: Vec<u8>,
}

/// What to answer to a command in place of yes; an empty answer hangs up.
type Rule = (&'static str, &'static str);

/// Takes mail, one conversation after the other; the first of the rules applies to the next conversation.
#[derive(Clone, Default)]
pub(crate) struct MailServer {
    rules: Arc<Mutex<VecDeque<Rule>>>,
    taken: Arc<Mutex<Vec<Taken>>>,
    logins: Arc<AtomicUsize>,
}

impl MailServer {
    /// The server and its `SMTP_URL`.
    pub(crate) async fn start() -> (Self, String) {
        let server = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://user:hunter2@{}", listener.local_addr().unwrap());
        let talking = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let rule = talking.rules.lock().unwrap().pop_front();
                // A client that hangs up in the middle is the client's affair.
                talking.talk(stream, rule).await.ok();
            }
        });
        (server, url)
    }

    pub(crate) fn will_answer(&self, rules: &[Rule]) {
        self.rules.lock().unwrap().extend(rules);
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    /// How often a password was sent.
    pub(crate) fn logins(&self) -> usize {
        self.logins.load(Ordering::SeqCst)
    }

    async fn talk(&self, stream: TcpStream, rule: Option<Rule>) -> std::io::Result<()> {
        let mut stream = BufStream::new(stream);
        let (mut from, mut to) = (String::new(), String::new());
        if !answer(&mut stream, "CONNECT", rule, "220 mail.test ESMTP").await? {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            let verb = line.get(..4).unwrap_or_default();
            let yes = match verb {
                "EHLO" => "250-mail.test\r\n250-8BITMIME\r\n250 AUTH PLAIN",
                "AUTH" => {
                    self.logins.fetch_add(1, Ordering::SeqCst);
                    "235 2.7.0 welcome"
                }
                "MAIL" => {
                    from = path(line);
                    "250 2.1.0 ok"
                }
                "RCPT" => {
                    to = path(line);
                    "250 2.1.5 ok"
                }
                "DATA" => "354 go on",
                "QUIT" => "221 bye",
                _ => "500 what?",
            };
            if !answer(&mut stream, verb, rule, yes).await? {
                return Ok(());
            }
            if verb == "DATA" && rule.is_none_or(|(verb, _)| verb != "DATA") {
                let data = read_data(&mut stream).await?;
                let taken = Taken {
                    from: from.clone(),
                    to: to.clone(),
                    data,
                };
                self.taken.lock().unwrap().push(taken);
                if !answer(&mut stream, "SENT", rule, "250 2.0.0 queued").await? {
                    return Ok(());
                }
            }
        }
    }
}

/// Says yes, or what the rule says of this verb; false after hanging up.
async fn answer(
    stream: &mut BufStream<TcpStream>,
    verb: &str,
    rule: Option<Rule>,
    yes: &str,
) -> std::io::Result<bool> {
    let text = rule
        .filter(|(ruled, _)| *ruled == verb)
        .map_or(yes, |(_, text)| text);
    if text.is_empty() {
        return Ok(false);
    }
    stream.write_all(format!("{text}\r\n").as_bytes()).await?;
    stream.flush().await?;
    Ok(true)
}

async fn read_data(stream: &mut BufStream<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await? == 0 || line == b".\r\n" {
            return Ok(data);
        }
        data.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}

/// What stands between the angle brackets.
fn path(line: &str) -> String {
    let (_, rest) = line.split_once('<').unwrap();
    rest.split('>').next().unwrap().to_owned()
}
