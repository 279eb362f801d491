"""nginx's directives by context, each with what becomes of it.

What decides who may see what, where a request goes or how it is protected is refused while it
cannot be obeyed; what only tunes, logs or saves work is without effect.
"""

from trimaran.stack.directives import Directive, Table, rows, table
from trimaran.stack.nginx_facts import FACTS
from trimaran.stack.report import Status

_YES: Status = "honoured"
_IDLE: Status = "no effect"
_NO: Status = "refused"

MAIN, EVENTS, HTTP, SERVER, LOCATION = "the top level", "events", "http", "server", "location"
UPSTREAM, IF, EXCEPT = "upstream", "if", "limit_except"
STREAM, STREAM_SERVER, STREAM_UPSTREAM = "stream", "server in stream", "upstream in stream"

_ACCESS = "ignoring it could let in whom it shuts out"
_LATER = "not supported yet"
_TUNING = "tuning that the engine does not need"

Rows = list[list[Directive]]


def _main() -> Rows:
    return [
        rows(_YES, "1", "worker_processes"),
        rows(_YES, "1-2", "error_log"),
        rows(_YES, "0", "events http", block=True),
        rows(_IDLE, "1-2", "user", "the proxy runs as the user whom the node gives it"),
        rows(_IDLE, "0+", "pid daemon master_process lock_file debug_points "
             "working_directory worker_rlimit_core", "the node supervises its processes and logs"),
        rows(_IDLE, "0+", "worker_rlimit_nofile worker_priority worker_cpu_affinity pcre_jit "
             "worker_shutdown_timeout worker_aio_requests thread_pool timer_resolution "
             "google_perftools_profiles ssl_engine ssl_object_cache_inheritable", _TUNING),
        rows(_IDLE, "0+", "load_module env", "the engine has no modules"),
        rows(_YES, "0", "stream", block=True),
        rows(_NO, "0+", "mail", f"{_LATER}: what it serves would not be served", block=None),
    ]  # fmt: skip


def _events() -> Rows:
    return [
        rows(_IDLE, "1", "worker_connections", "the limit is that of open files"),
        rows(_IDLE, "0+", "use multi_accept accept_mutex accept_mutex_delay worker_aio_requests "
             "debug_connection", _TUNING),
    ]  # fmt: skip


_ANY_FAMILY = """
    bind buffer_size connect_timeout send_timeout read_timeout next_upstream next_upstream_timeout
    next_upstream_tries socket_keepalive intercept_errors ignore_headers hide_header pass_header
    force_ranges
"""
_CACHED_FAMILY = """
    buffering buffers busy_buffers_size cache cache_background_update cache_bypass cache_key
    cache_lock cache_lock_age cache_lock_timeout cache_max_range_offset cache_methods
    cache_min_uses cache_purge cache_revalidate cache_use_stale cache_valid ignore_client_abort
    limit_rate max_temp_file_size no_cache param pass_request_body pass_request_headers
    request_buffering store store_access temp_file_write_size temp_path send_lowat
"""
_TLS_FAMILY = """
    ssl_certificate ssl_certificate_key ssl_ciphers ssl_conf_command ssl_crl ssl_name
    ssl_password_file ssl_protocols ssl_server_name ssl_session_reuse ssl_trusted_certificate
    ssl_verify ssl_verify_depth
"""
_FAMILIES = (
    ("fastcgi uwsgi scgi grpc memcached", _ANY_FAMILY),
    ("fastcgi uwsgi scgi", _CACHED_FAMILY),
    ("grpc uwsgi", _TLS_FAMILY),
    ("fastcgi", "index split_path_info catch_stderr keep_conn"),
    ("uwsgi", "modifier1 modifier2"),
    ("grpc", "set_header"),
    ("memcached", "gzip_flag"),
)


def _families() -> str:
    """Directives of the protocols that no upstream is spoken to in (their *_pass is refused)."""
    return " ".join(
        f"{family}_{word}"
        for families, words in _FAMILIES
        for family in families.split()
        for word in words.split()
    )


def _common() -> Rows:
    """What may stand in http, server and location alike."""
    return [
        rows(_YES, "1", "root default_type client_max_body_size client_body_timeout send_timeout "
             "proxy_limit_rate proxy_connect_timeout proxy_send_timeout proxy_read_timeout"),
        rows(_YES, "1+", "index access_log"),
        rows(_YES, "2", "proxy_set_header"),
        rows(_YES, "2+", "error_page"),
        rows(_YES, "1-2", "keepalive_timeout"),
        rows(_YES, "0", "types", block=True),
        rows(_YES, "1+", "proxy_redirect proxy_next_upstream autoindex"),
        rows(_YES, "1", "allow deny satisfy auth_basic auth_basic_user_file real_ip_header "
             "real_ip_recursive set_real_ip_from limit_req_status limit_conn_status "
             "limit_req_dry_run limit_conn_dry_run absolute_redirect recursive_error_pages "
             "proxy_http_version proxy_intercept_errors proxy_next_upstream_tries "
             "proxy_next_upstream_timeout proxy_hide_header proxy_pass_header proxy_set_body "
             "proxy_method proxy_pass_request_headers proxy_pass_request_body"),
        rows(_YES, "1+", "limit_req expires proxy_cookie_flags proxy_ignore_headers"),
        rows(_YES, "1-2", "proxy_bind"),
        rows(_YES, "1", "proxy_buffering proxy_request_buffering proxy_max_temp_file_size "
             "client_body_buffer_size client_body_in_file_only"),
        rows(_YES, "1", "auth_request mirror mirror_request_body"),
        rows(_YES, "2", "proxy_buffers auth_request_set"),
        rows(_YES, "1-4", "proxy_temp_path client_body_temp_path"),
        rows(_YES, "2", "limit_conn"),
        rows(_YES, "1-2", "proxy_cookie_domain proxy_cookie_path"),
        rows(_YES, "2-3", "add_header"),
        rows(_NO, "0+", "auth_jwt auth_jwt_key_file "
             "auth_jwt_key_request auth_jwt_leeway valid_referers "
             "secure_link secure_link_md5 secure_link_secret geoip_country geoip_city", _ACCESS,
             block=None),
        rows(_YES, "1", "limit_rate limit_rate_after auth_delay server_tokens etag "
             "server_name_in_redirect port_in_redirect if_modified_since max_ranges "
             "chunked_transfer_encoding keepalive_requests keepalive_time limit_req_log_level "
             "limit_conn_log_level log_not_found"),
        rows(_YES, "1+", "keepalive_disable"),
        rows(_YES, "1-2", "error_log"),
        rows(_YES, "2-3", "add_trailer"),
        rows(_IDLE, "1", "rewrite_log uninitialized_variable_warn", "`trimaran events` tells"),
        rows(_NO, "0+", "dav_methods", f"{_LATER}: files are only read"),
        rows(_NO, "0+", "proxy_store "
             "sub_filter sub_filter_once sub_filter_types "
             "disable_symlinks ssi charset override_charset addition_types "
             "early_hints add_header_inherit add_after_body add_before_body userid userid_domain "
             "userid_expires userid_flags userid_mark userid_name userid_p3p userid_path "
             "userid_service",
             f"{_LATER}: answers or requests would differ"),
        rows(_IDLE, "0+", "source_charset charset_map charset_types",
             "no charset is told or changed"),
        rows(_IDLE, "0+", "sendfile sendfile_max_chunk tcp_nopush "
             "tcp_nodelay aio aio_write "
             "directio directio_alignment output_buffers postpone_output read_ahead "
             "reset_timedout_connection lingering_close lingering_time lingering_timeout "
             ""
             "client_body_in_single_buffer types_hash_max_size types_hash_bucket_size "
             "open_file_cache open_file_cache_valid open_file_cache_min_uses "
             "open_file_cache_errors open_log_file_cache send_lowat subrequest_output_buffer_size "
             "keepalive_min_timeout",
             _TUNING),
        rows(_IDLE, "0+", "proxy_buffer_size "
             "proxy_busy_buffers_size proxy_temp_file_write_size "
             "proxy_headers_hash_max_size proxy_headers_hash_bucket_size "
             "proxy_socket_keepalive proxy_socket_sndbuf proxy_socket_rcvbuf proxy_force_ranges "
             "proxy_send_lowat proxy_pass_trailers proxy_ignore_client_abort "
             "proxy_allow_upstream", _TUNING),
        rows(_IDLE, "0+", "proxy_cache proxy_cache_background_update proxy_cache_bypass "
             "proxy_cache_convert_head proxy_cache_key proxy_cache_lock proxy_cache_lock_age "
             "proxy_cache_lock_timeout proxy_cache_max_range_offset proxy_cache_methods "
             "proxy_cache_min_uses proxy_cache_revalidate proxy_cache_use_stale "
             "proxy_cache_valid proxy_no_cache", "nothing is cached: every request is forwarded"),
        rows(_IDLE, "0+", "proxy_ssl_verify proxy_ssl_trusted_certificate proxy_ssl_name "
             "proxy_ssl_server_name proxy_ssl_verify_depth proxy_ssl_certificate "
             "proxy_ssl_certificate_key proxy_ssl_protocols proxy_ssl_ciphers proxy_ssl_crl "
             "proxy_ssl_session_reuse proxy_ssl_conf_command proxy_ssl_password_file",
             "only http:// upstreams are spoken to"),
        rows(_IDLE, "0+", "gzip gzip_buffers gzip_comp_level gzip_disable gzip_http_version "
             "gzip_min_length gzip_proxied gzip_types gzip_vary gzip_static gunzip "
             "gunzip_buffers brotli brotli_types brotli_comp_level brotli_static",
             "answers are not compressed"),
        rows(_IDLE, "0+", "log_subrequest", "there are no sub-requests"),
        rows(_IDLE, "0+", "msie_padding msie_refresh", "for browsers that are no more"),
        rows(_IDLE, "0+", "resolver resolver_timeout", "addresses are written as such"),
        rows(_IDLE, "0+", "autoindex_exact_size autoindex_format autoindex_localtime",
             "directories are not listed"),
        rows(_IDLE, "0+", _families(), "only HTTP upstreams are spoken to"),
        rows(_IDLE, "0+", "ancient_browser ancient_browser_value modern_browser "
             "modern_browser_value referer_hash_bucket_size referer_hash_max_size status_zone "
             "status_format session_log f4f_buffer_size hls_buffers hls_forward_args hls_fragment "
             "hls_mp4_buffer_size hls_mp4_max_buffer_size mp4_buffer_size mp4_limit_rate "
             "mp4_limit_rate_after mp4_max_buffer_size image_filter_buffer image_filter_interlace "
             "image_filter_jpeg_quality image_filter_sharpen image_filter_transparency "
             "image_filter_webp_quality ssi_last_modified ssi_min_file_chunk ssi_silent_errors "
             "ssi_types ssi_value_length sub_filter_last_modified xml_entities xslt_last_modified "
             "xslt_param xslt_string_param xslt_types min_delete_depth create_full_put_path "
             "dav_access slice spdy_chunk_size http2_push http2_push_preload http2_chunk_size "
             "proxy_cache_purge proxy_store_access", "used by nothing that is honoured"),
    ]  # fmt: skip


def _tls() -> Rows:
    return [
        rows(_NO, "0+", "ssl ssl_certificate ssl_certificate_key ssl_client_certificate "
             "ssl_verify_client ssl_reject_handshake ssl_trusted_certificate ssl_crl ssl_ocsp",
             f"{_LATER}: what is to be encrypted would be in clear"),
        rows(_IDLE, "0+", "ssl_protocols ssl_ciphers ssl_prefer_server_ciphers ssl_session_cache "
             "ssl_session_timeout ssl_session_tickets ssl_session_ticket_key ssl_buffer_size "
             "ssl_ecdh_curve ssl_dhparam ssl_stapling ssl_stapling_verify ssl_stapling_file "
             "ssl_stapling_responder ssl_early_data ssl_conf_command ssl_password_file "
             "ssl_verify_depth ssl_ocsp_cache ssl_ocsp_responder",
             "nothing is encrypted; `listen … ssl` is refused"),
        rows(_NO, "1", "http2 http3", f"{_LATER}: HTTP/1.1 is spoken"),
        rows(_IDLE, "0+", "http2_max_concurrent_streams http2_body_preread_size "
             "http2_recv_buffer_size http2_idle_timeout http2_max_concurrent_pushes "
             "http2_max_field_size http2_max_header_size http2_max_requests http2_recv_timeout "
             "spdy_headers_comp http3_hq quic_retry quic_gso", "HTTP/1.1 is spoken"),
        rows(_IDLE, "0+", "client_header_buffer_size connection_pool_size request_pool_size",
             _TUNING),
        rows(_YES, "1", "merge_slashes max_headers underscores_in_headers ignore_invalid_headers"),
        rows(_YES, "2", "large_client_header_buffers"),
        rows(_YES, "1", "client_header_timeout"),
    ]  # fmt: skip


def _http() -> Rows:
    return [
        rows(_YES, "0", "server", block=True),
        rows(_YES, "1", "upstream", block=True),
        rows(_YES, "2+", "log_format"),
        rows(_YES, "3", "limit_req_zone"),
        rows(_YES, "2", "limit_conn_zone"),
        rows(_YES, "2", "map split_clients", block=True),
        rows(_YES, "1-2", "geo", block=True),
        rows(_IDLE, "0+", "limit_zone proxy_cache_path "
             "fastcgi_cache_path scgi_cache_path uwsgi_cache_path session_log_format "
             "session_log_zone",
             "used by nothing that is honoured"),
        rows(_IDLE, "0+", "server_names_hash_max_size server_names_hash_bucket_size "
             "variables_hash_max_size variables_hash_bucket_size map_hash_max_size "
             "map_hash_bucket_size", _TUNING),
        rows(_NO, "0+", "geoip2 perl_modules perl_require perl_set js_import "
             "js_set js_include "
             "js_path keyval keyval_zone auth_jwt_claim_set auth_jwt_header_set geoip_org "
             "geoip_proxy geoip_proxy_recursive match lua_package_path init_by_lua_block",
             f"{_LATER}: its variables would be empty",
             block=None),
    ]  # fmt: skip


def _returns() -> Rows:
    return [
        rows(_YES, "1-2", "return"),
        rows(_YES, "0", "break"),
        rows(_YES, "2", "set"),
        rows(_YES, "2-3", "rewrite"),
        rows(_YES, "1+", "if", block=True),
        rows(_YES, "2+", "try_files"),
    ]


def _server() -> Rows:
    return [
        rows(_YES, "1+", "listen server_name"),
        rows(_YES, "0-1", "stub_status"),
        rows(_YES, "1-2", "location", block=True),
    ]


def _location() -> Rows:
    return [
        rows(_YES, "1", "proxy_pass"),
        rows(_YES, "1+", "limit_except", block=True),
        rows(_YES, "0", "internal"),
        rows(_YES, "1", "alias"),
        rows(_YES, "0-1", "stub_status"),
        rows(_YES, "1-2", "location", block=True),
        rows(_NO, "0+", "fastcgi_pass uwsgi_pass scgi_pass grpc_pass memcached_pass "
             "empty_gif flv mp4 perl js_content content_by_lua_block content_by_lua_file "
             "random_index image_filter xslt_stylesheet api hls f4f status upstream_conf "
             "health_check",
             f"{_LATER}: this location would answer with files", block=None),
    ]  # fmt: skip


def _upstream() -> Rows:
    return [
        rows(_YES, "1+", "server"),
        rows(_YES, "1-2", "keepalive"),
        rows(_YES, "1", "keepalive_timeout"),
        rows(_YES, "1", "keepalive_requests keepalive_time"),
        rows(_IDLE, "1-2", "zone", "the peers' state is shared by all workers anyway"),
        rows(_YES, "0", "least_conn ip_hash"),
        rows(_YES, "1-2", "hash"),
        rows(_YES, "0-2", "random"),
        rows(_YES, "1-2", "least_time queue"),
        rows(_YES, "2+", "sticky"),
        rows(_YES, "1", "retry_budget"),
        rows(_IDLE, "1+", "resolver resolver_timeout", "addresses are written as such"),
        rows(_NO, "0+", "sticky_cookie_insert ntlm",
             f"{_LATER}: a client would not stay with its peer"),
        rows(_NO, "0+", "health_check state match balancer_by_lua_block check",
             f"{_LATER}: peers are judged by the requests that they get",
             block=None),
    ]  # fmt: skip


def _in_stream() -> Rows:
    """What may stand in stream and in its servers alike."""
    return [
        rows(_YES, "1", "allow deny limit_conn_dry_run limit_conn_log_level proxy_connect_timeout "
             "proxy_timeout proxy_next_upstream proxy_next_upstream_tries "
             "proxy_next_upstream_timeout proxy_half_close proxy_buffer_size proxy_upload_rate "
             "proxy_download_rate"),
        rows(_YES, "2", "limit_conn set"),
        rows(_YES, "1+", "access_log"),
        rows(_YES, "1-2", "error_log"),
        rows(_IDLE, "0+", "tcp_nodelay proxy_socket_keepalive proxy_socket_rcvbuf "
             "proxy_socket_sndbuf preread_buffer_size preread_timeout proxy_protocol_timeout "
             "variables_hash_max_size variables_hash_bucket_size open_log_file_cache", _TUNING),
        rows(_IDLE, "1+", "resolver resolver_timeout", "names are looked up at the start"),
        rows(_NO, "0+", "proxy_bind proxy_protocol proxy_requests proxy_responses proxy_ssl "
             "set_real_ip_from ssl_preread ssl_certificate ssl_certificate_key ssl_verify_client "
             "ssl_client_certificate ssl_alpn ssl_reject_handshake", f"{_LATER}"),
    ]  # fmt: skip


def _stream() -> Rows:
    return [
        rows(_YES, "0", "server", block=True),
        rows(_YES, "1", "upstream", block=True),
        rows(_YES, "2+", "log_format"),
        rows(_YES, "2", "limit_conn_zone"),
        rows(_YES, "2", "map split_clients", block=True),
        rows(_YES, "1-2", "geo", block=True),
        rows(_IDLE, "0+", "map_hash_max_size map_hash_bucket_size server_names_hash_max_size "
             "server_names_hash_bucket_size", _TUNING),
    ]  # fmt: skip


def _stream_server() -> Rows:
    return [
        rows(_YES, "1+", "listen"),
        rows(_YES, "1", "proxy_pass return"),
        rows(_NO, "0+", "pass server_name", f"{_LATER}: another server would answer"),
    ]


def _stream_upstream() -> Rows:
    return [
        rows(_YES, "1+", "server"),
        rows(_IDLE, "1-2", "zone", "the peers' state is shared by all workers anyway"),
        rows(_YES, "0", "least_conn"),
        rows(_YES, "1-2", "hash"),
        rows(_YES, "0-2", "random"),
        rows(_NO, "0+", "least_time state", _LATER),
        rows(_IDLE, "1+", "resolver resolver_timeout", "names are looked up at the start"),
    ]


_KNOWN: Table = table(
    {
        MAIN: _main(),
        EVENTS: _events(),
        HTTP: [*_common(), *_tls(), *_http()],
        SERVER: [*_common(), *_tls(), *_returns(), *_server()],
        LOCATION: [*_common(), *_returns(), *_location()],
        IF: [*_common(), *_returns(), rows(_YES, "1", "proxy_pass alias")],
        EXCEPT: [
            rows(_YES, "1", "allow deny auth_basic auth_basic_user_file satisfy proxy_pass"),
            _returns()[0],
        ],
        UPSTREAM: _upstream(),
        STREAM: [*_in_stream(), *_stream()],
        STREAM_SERVER: [*_in_stream(), *_stream_server()],
        STREAM_UPSTREAM: _stream_upstream(),
    }
)


def _whole() -> Table:
    """What nginx has, where it has it, and what it has only in NGINX Plus or as a module; what the
    rows above do not name is refused."""
    rest: dict[str, Rows] = {}
    for fact in FACTS.values():
        for context in fact.contexts:
            if fact.name not in _KNOWN[context] and fact.name != "include":
                row = rows(_NO, "0+", fact.name, _LATER, block=None)
                rest.setdefault(context, []).append(row)
    return {
        context: {
            **{name: row for name, row in names.items() if _belongs(name, context)},
            **table({context: rest.get(context, [])})[context],
        }
        for context, names in _KNOWN.items()
    }


def _belongs(name: str, context: str) -> bool:
    return name not in FACTS or context in FACTS[name].contexts


NGINX = _whole()
