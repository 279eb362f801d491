"""nginx's directives of the top level, events and stream; letters as in nginx_facts."""

FACTS = """
accept_mutex E flag off
accept_mutex_delay E 1 500ms
acceptex_read E flag
daemon M flag on
debug_connection E 1
debug_points M 1
devpoll_changes E 1
devpoll_events E 1
env M 1 TZ
epoll_events E 1
eventport_events E 1
events M 0{
http M 0{
include * 1
iocp_threads E 1
kqueue_changes E 1
kqueue_events E 1
load_module M 1
lock_file M 1 logs/nginx.lock
master_process M flag on
multi_accept E flag off
pass t 1
pcre_jit M flag off
pid M 1 logs/nginx.pid
post_acceptex E 1
preread_buffer_size st 1 16k
preread_timeout st 1 30s
proxy_download_rate st 1 0
proxy_downstream_buffer st 1
proxy_half_close st flag off
proxy_protocol st 1 off
proxy_protocol_timeout st 1 30s
proxy_requests st 1 0
proxy_responses st 1
proxy_ssl st flag off
proxy_ssl_alpn st 1+
proxy_timeout st 1 10m
proxy_upload_rate st 1 0
proxy_upstream_buffer st 1
quic_bpf M flag off
ssl_alpn st 1+
ssl_engine M 1
ssl_handshake_timeout st 1 60s
ssl_object_cache_inheritable M flag on
ssl_preread st flag off
stream M 0{
thread_pool M 2-3 default threads=32 max_queue=65536
timer_resolution M 1
use E 1
user M 1-2 nobody nobody
worker_aio_requests E 1 32
worker_connections E 1 512
worker_cpu_affinity M 1+
worker_priority M 1 0
worker_processes M 1 1
worker_rlimit_core M 1
worker_rlimit_nofile M 1
worker_shutdown_timeout M 1
working_directory M 1
"""
