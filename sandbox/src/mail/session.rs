//! One SMTP conversation (RFC 5321), as far as a mail library needs it.
//!
//! a connection → **[`converse`]** → `Mails`.
//!
//! Invariants: commands out of order are answered 503 and change nothing; a line that begins with a dot loses it (§4.5.2);
//! the message is kept before it is answered 250, and not at all where it is too large (552).
//! Not here: what is refused on demand (`Mails`). Failure: an I/O error ends the conversation.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::Mail;
use crate::app::App;

/// The longest line: RFC 5321 allows 1000 bytes of text, libraries send less.
const LINE_BYTES_MAX: u64 = 8 * 1024;

const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

const RECIPIENTS_MAX: usize = 100;

/// What a client has said so far.
#[derive(Debug, Default)]
struct Envelope {
    from: Option<String>,
    to: Vec<String>,
}

/// Talks until the client quits or breaks off.
pub(super) async fn converse(app: &App, stream: TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut envelope = Envelope::default();
    say(&mut stream, "220 tollgate-sandbox ESMTP").await?;
    while let Some(line) = line(&mut stream).await? {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "QUIT" => {
                say(&mut stream, "221 bye").await?;
                return Ok(());
            }
            "DATA" if !envelope.to.is_empty() => {
                let answer = take(app, &mut stream, std::mem::take(&mut envelope)).await?;
                say(&mut stream, answer).await?;
            }
            "AUTH" => authenticate(&mut stream, rest).await?,
            verb => say(&mut stream, &answer(app, &mut envelope, verb, rest)).await?,
        }
    }
    Ok(())
}

/// The answer to a command of one line.
fn answer(app: &App, envelope: &mut Envelope, verb: &str, rest: &str) -> String {
    match verb {
        "EHLO" => {
            "250-tollgate-sandbox\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 1048576"
                .into()
        }
        "HELO" | "NOOP" => "250 ok".into(),
        "RSET" => {
            *envelope = Envelope::default();
            "250 ok".into()
        }
        "MAIL" => {
            *envelope = Envelope {
                from: address(rest, "FROM:"),
                to: Vec::new(),
            };
            said(envelope.from.is_some())
        }
        "RCPT" if envelope.from.is_none() => "503 MAIL first".into(),
        "RCPT" => recipient(app, envelope, rest),
        "DATA" => "503 RCPT first".into(),
        _ => "500 not known here".into(),
    }
}

fn recipient(app: &App, envelope: &mut Envelope, rest: &str) -> String {
    let Some(to) = address(rest, "TO:") else {
        return said(false);
    };
    if envelope.to.len() >= RECIPIENTS_MAX {
        return "452 too many recipients".into();
    }
    if let Some(code) = app.world.with(|world| world.mails.refusal()) {
        return format!("{code} refused on demand");
    }
    envelope.to.push(to);
    said(true)
}

fn said(understood: bool) -> String {
    if understood { "250 ok" } else { "501 no address" }.into()
}

/// The address between `<` and `>`; parameters behind it are taken and ignored.
fn address(rest: &str, keyword: &str) -> Option<String> {
    let given = rest
        .get(..keyword.len())
        .filter(|word| word.eq_ignore_ascii_case(keyword))?;
    let (address, _) = rest
        .strip_prefix(given)?
        .trim_start()
        .strip_prefix('<')?
        .split_once('>')?;
    Some(address.to_owned())
}

/// Any password will do; the sandbox guards nothing.
async fn authenticate(stream: &mut BufReader<TcpStream>, rest: &str) -> io::Result<()> {
    let mut words = rest.split_whitespace();
    let (mechanism, initial) = (words.next().unwrap_or_default(), words.next());
    let questions = match (mechanism.to_ascii_uppercase().as_str(), initial) {
        ("PLAIN", Some(_)) => 0,
        ("PLAIN", None) | ("LOGIN", Some(_)) => 1,
        ("LOGIN", None) => 2,
        _ => return say(stream, "504 PLAIN or LOGIN").await,
    };
    for _ in 0..questions {
        say(stream, "334 ").await?;
        line(stream).await?;
    }
    say(stream, "235 ok").await
}

/// Takes the message up to the lone dot.
async fn take(app: &App, stream: &mut BufReader<TcpStream>, envelope: Envelope) -> io::Result<&'static str> {
    say(stream, "354 end with a dot").await?;
    let mut message: Vec<u8> = Vec::new();
    let mut too_large = false;
    loop {
        let Some(line) = line(stream).await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if line == b".\r\n" || line == b".\n" {
            break;
        }
        let text = line.strip_prefix(b".").unwrap_or(&line);
        too_large |= message.len().saturating_add(text.len()) > MESSAGE_BYTES_MAX;
        if !too_large {
            message.extend_from_slice(text);
        }
    }
    if too_large {
        return Ok("552 too large");
    }
    let mail = Mail {
        received_at: app.clock.now(),
        from: envelope.from.unwrap_or_default(),
        to: envelope.to,
        raw: String::from_utf8_lossy(&message).into_owned(),
    };
    app.world.with(|world| world.mails.keep(mail));
    Ok("250 kept")
}

/// One line with its end; `None` when the client is gone. A longer one than allowed is an error.
async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    if read == 0 {
        return Ok(None);
    }
    if line.ends_with(b"\n") {
        Ok(Some(line))
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

async fn say(stream: &mut BufReader<TcpStream>, text: &str) -> io::Result<()> {
    stream.write_all(format!("{text}\r\n").as_bytes()).await?;
    stream.flush().await
}
