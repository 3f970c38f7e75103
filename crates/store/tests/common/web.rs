//! A small web server: objects by path, spoken to in HTTP/1.1, as plain file servers answer and as the clouds do.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

#[derive(Default)]
pub struct State {
    /// Content by path as sent, without the query.
    pub files: Mutex<BTreeMap<String, Vec<u8>>>,
    pub requests: Mutex<Vec<Request>>,
    /// Answers to requests of a range are whole.
    pub no_ranges: AtomicBool,
    /// So many answers with content end halfway.
    pub half_answers: AtomicI64,
    /// How requests of methods that it does not know are answered, if not with 405.
    pub unknown_method: Mutex<String>,
    /// GET is the only method.
    pub get_only: AtomicBool,
    /// So many requests are answered with 503.
    pub busy: AtomicI64,
}

pub struct Web {
    pub port: u16,
    pub state: Arc<State>,
}

impl Web {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || {
                    let _ = serve(stream, &shared);
                });
            }
        });
        Self { port, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn put(&self, path: &str, content: &[u8]) {
        self.state.files.lock().unwrap().insert(path.to_owned(), content.to_vec());
    }

    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.state.files.lock().unwrap().get(path).cloned()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(request) = read(&mut reader)? {
        state.requests.lock().unwrap().push(request.clone());
        if !answer(&mut stream, &request, state)? {
            break;
        }
    }
    Ok(())
}

fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            None => break,
        }
    }
    let length = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, target, headers, body }))
}

/// Answers; false when the connection is to be closed.
fn answer(stream: &mut TcpStream, request: &Request, state: &State) -> std::io::Result<bool> {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let path = &path.replace("%2F", "/").replace("%2E", ".");
    if state.busy.fetch_sub(1, Ordering::SeqCst) > 0 {
        return plain(stream, "503 Service Unavailable", "", b"busy");
    }
    match request.method.as_str() {
        "PUT" => {
            state.files.lock().unwrap().insert(path.to_owned(), request.body.clone());
            plain(stream, "201 Created", "ETag: \"new\"\r\n", b"")
        }
        "DELETE" => {
            let removed = state.files.lock().unwrap().remove(path);
            plain(
                stream,
                if removed.is_some() { "204 No Content" } else { "404 Not Found" },
                "",
                b"",
            )
        }
        "POST" if query.contains("comp=batch") => delete_batch(stream, request, state),
        "GET" if query.contains("list-type=2") || query.contains("comp=list") => {
            list(stream, path, query, state)
        }
        "HEAD" if state.get_only.load(Ordering::SeqCst) => plain(stream, "403 Forbidden", "", b""),
        "GET" | "HEAD" => get(stream, request, path, state),
        _ => {
            let status = state.unknown_method.lock().unwrap().clone();
            plain(
                stream,
                if status.is_empty() { "405 Method Not Allowed" } else { &status },
                "",
                b"",
            )
        }
    }
}

/// Azure takes deletions as requests within a request, and answers each.
fn delete_batch(stream: &mut TcpStream, request: &Request, state: &State) -> std::io::Result<bool> {
    let text = String::from_utf8_lossy(&request.body).into_owned();
    let account = request.target.split('/').nth(1).unwrap_or_default();
    let mut body = String::new();
    for (id, line) in text.lines().filter_map(|line| line.strip_prefix("DELETE ")).enumerate() {
        let path = line.split([' ', '?']).next().unwrap_or_default();
        let inside = path.starts_with(&format!("/{account}/"));
        let full = if inside { path.to_owned() } else { format!("/{account}{path}") };
        state.files.lock().unwrap().remove(&full);
        body.push_str(&format!(
            "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\
             Content-ID: {id}\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n\r\n"
        ));
    }
    body.push_str("--b--\r\n");
    plain(stream, "202 Accepted", "Content-Type: multipart/mixed; boundary=b\r\n", body.as_bytes())
}

fn plain(
    stream: &mut TcpStream,
    status: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<bool> {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n")?;
    stream.write_all(body)?;
    Ok(true)
}

fn get(
    stream: &mut TcpStream,
    request: &Request,
    path: &str,
    state: &State,
) -> std::io::Result<bool> {
    let Some(content) = state.files.lock().unwrap().get(path).cloned() else {
        return plain(stream, "404 Not Found", "", b"");
    };
    let from = request
        .headers
        .get("range")
        .and_then(|range| range.strip_prefix("bytes=")?.split_once('-')?.0.parse::<usize>().ok());
    let from = from.filter(|_| !state.no_ranges.load(Ordering::SeqCst));
    let body = &content[from.unwrap_or(0)..];
    let kind = if path.ends_with('/') { "text/html" } else { "application/octet-stream" };
    let stamp = "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n";
    let mut head = format!("Content-Type: {kind}\r\n{stamp}ETag: \"{:x}\"\r\n", content.len());
    let status = match from {
        Some(from) => {
            let (last, total) = (content.len() - 1, content.len());
            head.push_str(&format!("Content-Range: bytes {from}-{last}/{total}\r\n"));
            "206 Partial Content"
        }
        None => "200 OK",
    };
    write!(stream, "HTTP/1.1 {status}\r\n{head}Content-Length: {}\r\n\r\n", body.len())?;
    if request.method == "HEAD" {
        return Ok(true);
    }
    if state.half_answers.fetch_sub(1, Ordering::SeqCst) > 0 {
        stream.write_all(&body[..body.len() / 2])?;
        return Ok(false);
    }
    stream.write_all(body)?;
    Ok(true)
}

/// What lies below a prefix, in the XML of S3 and Google's store, or in Azure's.
fn list(stream: &mut TcpStream, bucket: &str, query: &str, state: &State) -> std::io::Result<bool> {
    let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix="));
    let prefix = prefix.unwrap_or("").replace("%2F", "/");
    let bucket = format!("{}/", bucket.trim_end_matches('/'));
    let files = state.files.lock().unwrap();
    let mut items = String::new();
    let azure = query.contains("comp=list");
    for (path, content) in files.iter() {
        let Some(key) = path.strip_prefix(&bucket).filter(|key| key.starts_with(&prefix)) else {
            continue;
        };
        let size = content.len();
        items.push_str(&if azure {
            format!(
                "<Blob><Name>{key}</Name><Properties><Last-Modified>Wed, 21 Oct 2015 07:28:00 GMT\
                 </Last-Modified><Content-Length>{size}</Content-Length><Content-Type>x</Content-Type>\
                 <Etag>e{size}</Etag></Properties></Blob>"
            )
        } else {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2015-10-21T07:28:00.000Z</LastModified>\
                 <ETag>e{size}</ETag><Size>{size}</Size></Contents>"
            )
        });
    }
    let body = if azure {
        format!("<EnumerationResults><Blobs>{items}</Blobs><NextMarker/></EnumerationResults>")
    } else {
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>")
    };
    plain(stream, "200 OK", "Content-Type: application/xml\r\n", body.as_bytes())
}
