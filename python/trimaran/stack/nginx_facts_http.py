"""nginx's directives of http; `nginx_facts` says what the letters mean."""

FACTS = """
absolute_redirect HSL flag on
access_log HSLJXst 1+ logs/access.log combined
add_after_body HSL 1
add_before_body HSL 1
add_header HSLJ 2-3
add_header_inherit HSLJ 1 on
add_trailer HSLJ 2-3
add_trailer_inherit HSLJ 1 on
addition_types HSL 1+ text/html
aio HSL 1 off
aio_write HSL flag off
alias L 1
allow HSLXst 1
ancient_browser HSL 1+
ancient_browser_value HSL 1 1
auth_basic HSLX 1 off
auth_basic_user_file HSLX 1
auth_delay HSL 1 0s
auth_request HSL 1 off
auth_request_set HSL 2
autoindex HSL flag off
autoindex_exact_size HSL flag on
autoindex_format HSL 1 html
autoindex_localtime HSL flag off
break SLIJ 0
charset HSLJ 1 off
charset_map H 2{
charset_types HSL 1+ text/html text/xml text/plain text/vnd.wap.wml …
chunked_transfer_encoding HSL flag on
client_body_buffer_size HSL 1 8k|16k
client_body_early_read HS 1+
client_body_in_file_only HSL 1 off
client_body_in_single_buffer HSL flag off
client_body_temp_path HSL 1-4 client_body_temp
client_body_timeout HSL 1 60s
client_header_buffer_size HS 1 1k
client_header_timeout HS 1 60s
client_max_body_size HSL 1 1m
connection_pool_size HS 1 256|512
create_full_put_path HSL flag off
dav_access HSL 1-3 user:rw
dav_methods HSL 1+ off
default_type HSL 1 text/plain
degradation H 1
degrade HSL 1
deny HSLXst 1
directio HSL 1 off
directio_alignment HSL 1 512
disable_symlinks HSL 1-2 off
early_hints HSL 1+
empty_gif L 0
error_log MHSLst 1+ logs/error.log error
error_page HSLJ 2+
etag HSL flag on
expires HSLJ 1-2 off
flv L 0
geo Hs 1-2{
geoip_city Hs 1-2
geoip_country Hs 1-2
geoip_org Hs 1-2
geoip_proxy H 1
geoip_proxy_recursive H flag off
gunzip HSL flag off
gunzip_buffers HSL 2 32 4k|16 8k
gzip HSLJ flag off
gzip_buffers HSL 2 32 4k|16 8k
gzip_comp_level HSL 1 1
gzip_disable HSL 1+
gzip_hash HSL 1
gzip_http_version HSL 1 1.1
gzip_min_length HSL 1 20
gzip_no_buffer HSL flag
gzip_proxied HSL 1+ off
gzip_static HSL 1 off
gzip_types HSL 1+ text/html
gzip_vary HSL flag off
gzip_window HSL 1
hash Uu 1-2
http2 HS flag off
http2_body_preread_size HS 1 64k
http2_chunk_size HSL 1 8k
http2_idle_timeout HS 1 3m
http2_max_concurrent_pushes HS 1 10
http2_max_concurrent_streams HS 1 128
http2_max_field_size HS 1 4k
http2_max_header_size HS 1 16k
http2_max_requests HS 1 1000
http2_pool_size HS 1
http2_push HSL 1 off
http2_push_preload HSL flag off
http2_recv_buffer_size H 1 256k
http2_recv_timeout HS 1 30s
http2_streams_index_size HS 1
http3 HS flag on
http3_hq HS flag off
http3_max_concurrent_streams HS 1 128
http3_stream_buffer_size HS 1 64k
if SL 1+{
if_modified_since HSL 1 exact
ignore_invalid_headers HS flag on
image_filter L 1-3 off
image_filter_buffer HSL 1 1M
image_filter_interlace HSL flag off
image_filter_jpeg_quality HSL 1 75
image_filter_sharpen HSL 1 0
image_filter_transparency HSL flag on
image_filter_webp_quality HSL 1 80
index HSL 1+ index.html
internal L 0
ip_hash U 0
keepalive U 1-2 32 local
keepalive_disable HSL 1-2 msie6
keepalive_min_timeout HSL 1 0
keepalive_requests HSLU 1 1000
keepalive_time HSLU 1 1h
keepalive_timeout HSLU 1-2 60s
large_client_header_buffers HS 2 4 8k
least_conn Uu 0
least_time Uu 1-2
limit_conn HSLst 2
limit_conn_dry_run HSLst flag off
limit_conn_log_level HSLst 1 error
limit_conn_status HSL 1 503
limit_conn_zone Hs 2
limit_except L 1+{
limit_rate HSLJ 1 0
limit_rate_after HSLJ 1 0
limit_req HSL 1-3
limit_req_dry_run HSL flag off
limit_req_log_level HSL 1 error
limit_req_status HSL 1 503
limit_req_zone H 3
lingering_close HSL 1 on
lingering_time HSL 1 30s
lingering_timeout HSL 1 5s
listen St 1+ *:80 | *:8000
location SL 1-2{
log_format Hs 2+ combined "..."
log_not_found HSL flag on
log_subrequest HSL flag off
map Hs 2{
map_hash_bucket_size Hs 1 32|64|128
map_hash_max_size Hs 1 2048
max_headers HS 1 1000
max_ranges HSL 1
merge_slashes HS flag on
min_delete_depth HSL 1 0
mirror HSL 1 off
mirror_request_body HSL flag on
modern_browser HSL 1-2
modern_browser_value HSL 1 1
mp4 L 0
mp4_buffer_size HSL 1 512K
mp4_max_buffer_size HSL 1 10M
mp4_start_key_frame HSL flag off
msie_padding HSL flag on
msie_refresh HSL flag off
open_file_cache HSL 1-2 off
open_file_cache_errors HSL flag off
open_file_cache_events HSL flag off
open_file_cache_min_uses HSL 1 1
open_file_cache_valid HSL 1 60s
open_log_file_cache HSLst 1-4 off
output_buffers HSL 2 2 32k
override_charset HSLJ flag off
perl LX 1
perl_modules H 1
perl_require H 1
perl_set H 2
port_in_redirect HSL flag on
post_action HSLJ 1
postpone_gzipping HSL 1
postpone_output HSL 1 1460
quic_active_connection_id_limit HS 1 2
quic_gso HS flag off
quic_host_key HS 1
quic_retry HS flag off
random Uu 0-2
random_index L flag off
read_ahead HSL 1 0
real_ip_header HSL 1 X-Real-IP
real_ip_recursive HSL flag off
recursive_error_pages HSL flag off
referer_hash_bucket_size SL 1 64
referer_hash_max_size SL 1 2048
request_pool_size HS 1 4k
reset_timedout_connection HSL flag off
resolver HSLUstu 1+
resolver_timeout HSLUstu 1 30s
return SLIJt 1-2
rewrite SLIJ 2-3
rewrite_log HSLIJ flag off
root HSLJ 1 html
satisfy HSL 1 all
secure_link HSL 1
secure_link_md5 HSL 1
secure_link_secret HSL 1
send_lowat HSL 1 0
send_timeout HSL 1 60s
sendfile HSLJ flag off
sendfile_max_chunk HSL 1 2m
server HUsu 0+{
server_name St 1+ ""
server_name_in_redirect HSL flag off
server_names_hash_bucket_size Hs 1 32|64|128
server_names_hash_max_size Hs 1 512
server_tokens HSL 1 on
set SLIJt 2
set_real_ip_from HSLst 1
slice HSL 1 0
source_charset HSLJ 1
split_clients Hs 2{
ssi HSLJ flag off
ssi_ignore_recycled_buffers HSL flag
ssi_last_modified HSL flag off
ssi_min_file_chunk HSL 1 1k
ssi_silent_errors HSL flag off
ssi_types HSL 1+ text/html
ssi_value_length HSL 1 256
ssl_buffer_size HS 1 16k
ssl_certificate HSst 1
ssl_certificate_cache HSst 1-3 off
ssl_certificate_compression HSst flag off
ssl_certificate_key HSst 1
ssl_ciphers HSst 1 HIGH:!aNULL:!MD5
ssl_client_certificate HSst 1
ssl_conf_command HSst 2
ssl_crl HSst 1
ssl_dhparam HSst 1
ssl_early_data HS flag off
ssl_ecdh_curve HSst 1 auto
ssl_ech_file HSst 1
ssl_ocsp HSst 1 off
ssl_ocsp_cache HSst 1 off
ssl_ocsp_responder HSst 1
ssl_password_file HSst 1
ssl_prefer_server_ciphers HSst flag off
ssl_protocols HSst 1+ TLSv1.2 TLSv1.3
ssl_reject_handshake HSst flag off
ssl_session_cache HSst 1-2 none
ssl_session_ticket_key HSst 1
ssl_session_tickets HSst flag on
ssl_session_timeout HSst 1 5m
ssl_stapling HSst flag off
ssl_stapling_file HSst 1
ssl_stapling_responder HSst 1
ssl_stapling_verify HSst flag off
ssl_trusted_certificate HSst 1 system CA bundle
ssl_verify_client HSst 1 off
ssl_verify_depth HSst 1 1
sticky U 2+
stub_status SL 0-1
sub_filter HSL 2
sub_filter_last_modified HSL flag off
sub_filter_once HSL flag on
sub_filter_types HSL 1+ text/html
subrequest_output_buffer_size HSL 1 4k|8k
tcp_nodelay HSLst flag on
tcp_nopush HSL flag off
try_files SL 2+
types HSL 0{ text/html html; image/gif gif; image/jpeg jpg
types_hash_bucket_size HSL 1 64
types_hash_max_size HSL 1 1024
underscores_in_headers HS flag off
uninitialized_variable_warn HSLIJ flag on
upstream Hs 1{
userid HSL 1 off
userid_domain HSL 1 none
userid_expires HSL 1 off
userid_flags HSL 1-3 off
userid_mark HSL 1 off
userid_name HSL 1 uid
userid_p3p HSL 1 none
userid_path HSL 1 /
userid_service HSL 1 IP address of the server
valid_referers SL 1+
variables_hash_bucket_size Hs 1 64
variables_hash_max_size Hs 1 1024
xml_entities HSL 1
xml_external_entities HSL flag off
xslt_last_modified HSL flag off
xslt_param HSL 2
xslt_string_param HSL 2
xslt_stylesheet L 1+
xslt_types HSL 1+ text/xml
zone Uu 1-2
"""
