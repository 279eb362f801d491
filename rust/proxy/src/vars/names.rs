//! The names of variables.

use super::Scope;

/// What a PROXY header says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    Address,
    Port,
    ServerAddress,
    ServerPort,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Variable {
    Host,
    HttpHost,
    ProxyHost,
    ProxyPort,
    RemoteAddr,
    BinaryRemoteAddr,
    RemotePort,
    RemoteUser,
    AddForwardedFor,
    Scheme,
    RequestUri,
    Uri,
    Args,
    IsArgs,
    RequestMethod,
    RequestLine,
    RequestLength,
    RequestTime,
    ServerAddr,
    ServerPort,
    ServerName,
    ServerProtocol,
    ContentLength,
    ContentType,
    RequestId,
    DocumentRoot,
    RequestFilename,
    Status,
    BodyBytesSent,
    BytesSent,
    Connection,
    ConnectionRequests,
    TimeLocal,
    TimeIso,
    Msec,
    Pid,
    Hostname,
    Version,
    Pipe,
    RequestCompletion,
    Empty,
    RealAddr,
    Protocol,
    SessionTime,
    BytesReceived,
    UpstreamFirstByte,
    UpstreamSessionTime,
    RealPort,
    ConnectionTime,
    Connections(usize),
    RateVerdict,
    CountVerdict,
    Rate,
    SentTrailer(Vec<u8>),
    UpstreamAddr,
    UpstreamStatus,
    UpstreamConnectTime,
    UpstreamHeaderTime,
    UpstreamResponseTime,
    UpstreamLength,
    UpstreamSent,
    UpstreamReceived,
    ReplyCookie(Vec<u8>),
    Proxied(Part),
    ProxiedExtra(String),
    RequestBody,
    RequestBodyFile,
    Header(Vec<u8>),
    Argument(Vec<u8>),
    Cookie(Vec<u8>),
    Sent(Vec<u8>),
    Reply(Vec<u8>),
    Capture(usize),
    Slot(usize),
    Map(usize),
}

const PLAIN: &[(&str, Variable)] = &[
    ("host", Variable::Host),
    ("http_host", Variable::HttpHost),
    ("proxy_host", Variable::ProxyHost),
    ("proxy_port", Variable::ProxyPort),
    ("remote_addr", Variable::RemoteAddr),
    ("binary_remote_addr", Variable::BinaryRemoteAddr),
    ("remote_port", Variable::RemotePort),
    ("remote_user", Variable::RemoteUser),
    ("protocol", Variable::Protocol),
    ("session_time", Variable::SessionTime),
    ("bytes_received", Variable::BytesReceived),
    ("upstream_first_byte_time", Variable::UpstreamFirstByte),
    ("upstream_session_time", Variable::UpstreamSessionTime),
    ("realip_remote_addr", Variable::RealAddr),
    ("realip_remote_port", Variable::RealPort),
    ("connection_time", Variable::ConnectionTime),
    ("connections_active", Variable::Connections(0)),
    ("connections_reading", Variable::Connections(1)),
    ("connections_writing", Variable::Connections(2)),
    ("connections_waiting", Variable::Connections(3)),
    ("limit_req_status", Variable::RateVerdict),
    ("limit_conn_status", Variable::CountVerdict),
    ("proxy_add_x_forwarded_for", Variable::AddForwardedFor),
    ("scheme", Variable::Scheme),
    ("https", Variable::Empty),
    ("limit_rate", Variable::Rate),
    ("proxy_protocol_addr", Variable::Proxied(Part::Address)),
    ("proxy_protocol_port", Variable::Proxied(Part::Port)),
    (
        "proxy_protocol_server_addr",
        Variable::Proxied(Part::ServerAddress),
    ),
    (
        "proxy_protocol_server_port",
        Variable::Proxied(Part::ServerPort),
    ),
    ("request_uri", Variable::RequestUri),
    ("uri", Variable::Uri),
    ("document_uri", Variable::Uri),
    ("args", Variable::Args),
    ("query_string", Variable::Args),
    ("is_args", Variable::IsArgs),
    ("request_method", Variable::RequestMethod),
    ("request", Variable::RequestLine),
    ("request_length", Variable::RequestLength),
    ("request_time", Variable::RequestTime),
    ("request_body", Variable::RequestBody),
    ("request_body_file", Variable::RequestBodyFile),
    ("request_completion", Variable::RequestCompletion),
    ("server_addr", Variable::ServerAddr),
    ("server_port", Variable::ServerPort),
    ("server_name", Variable::ServerName),
    ("server_protocol", Variable::ServerProtocol),
    ("content_length", Variable::ContentLength),
    ("content_type", Variable::ContentType),
    ("request_id", Variable::RequestId),
    ("document_root", Variable::DocumentRoot),
    ("realpath_root", Variable::DocumentRoot),
    ("request_filename", Variable::RequestFilename),
    ("status", Variable::Status),
    ("body_bytes_sent", Variable::BodyBytesSent),
    ("bytes_sent", Variable::BytesSent),
    ("connection", Variable::Connection),
    ("connection_requests", Variable::ConnectionRequests),
    ("time_local", Variable::TimeLocal),
    ("time_iso8601", Variable::TimeIso),
    ("msec", Variable::Msec),
    ("pid", Variable::Pid),
    ("hostname", Variable::Hostname),
    ("nginx_version", Variable::Version),
    ("pipe", Variable::Pipe),
    ("upstream_addr", Variable::UpstreamAddr),
    ("upstream_status", Variable::UpstreamStatus),
    ("upstream_connect_time", Variable::UpstreamConnectTime),
    ("upstream_header_time", Variable::UpstreamHeaderTime),
    ("upstream_response_time", Variable::UpstreamResponseTime),
    ("upstream_response_length", Variable::UpstreamLength),
    ("upstream_bytes_received", Variable::UpstreamReceived),
    ("upstream_bytes_sent", Variable::UpstreamSent),
];

impl Variable {
    pub fn named(name: &str, scope: &Scope) -> Option<Variable> {
        if let Some(map) = scope.maps.get(name) {
            return Some(Variable::Map(*map));
        }
        if let Some(slot) = scope.slots.get(name) {
            return Some(Variable::Slot(*slot));
        }
        if let Ok(number) = name.parse::<usize>() {
            return Some(Variable::Capture(number));
        }
        if name.starts_with("connections_") {
            scope.wants_connections.set(true);
        }
        if let Some((_, variable)) = PLAIN.iter().find(|(known, _)| *known == name) {
            if name == "request_body" {
                scope.wants_body.set(true);
            }
            return Some(variable.clone());
        }
        let rest = |prefix| {
            name.strip_prefix(prefix)
                .filter(|rest: &&str| !rest.is_empty())
        };
        let dashed = |rest: &str| rest.replace('_', "-").into_bytes();
        if let Some(rest) = rest("http_") {
            return Some(Variable::Header(dashed(rest)));
        }
        if let Some(rest) = rest("arg_") {
            return Some(Variable::Argument(rest.into()));
        }
        if let Some(rest) = rest("cookie_") {
            return Some(Variable::Cookie(rest.into()));
        }
        if name == "arg_" {
            return Some(Variable::Argument(Vec::new()));
        }
        if let Some(rest) = rest("sent_trailer_") {
            return Some(Variable::SentTrailer(dashed(rest)));
        }
        if let Some(rest) = rest("sent_http_") {
            scope.wants_sent.set(true);
            return Some(Variable::Sent(dashed(rest)));
        }
        if let Some(rest) = rest("proxy_protocol_tlv_") {
            return Some(Variable::ProxiedExtra(rest.into()));
        }
        if let Some(rest) = rest("upstream_cookie_") {
            scope.wants_reply.set(true);
            return Some(Variable::ReplyCookie(rest.into()));
        }
        if let Some(rest) = rest("upstream_http_") {
            scope.wants_reply.set(true);
            return Some(Variable::Reply(dashed(rest)));
        }
        None
    }
}
