"""nginx's directives of forwarding; `nginx_facts` says what the letters mean."""

FACTS = """
fastcgi_bind HSL 1-2
fastcgi_buffer_size HSL 1 4k|8k
fastcgi_buffering HSL flag on
fastcgi_buffers HSL 2 8 4k|8k
fastcgi_busy_buffers_size HSL 1 8k|16k
fastcgi_cache HSL 1 off
fastcgi_cache_background_update HSL flag off
fastcgi_cache_bypass HSL 1+
fastcgi_cache_key HSL 1
fastcgi_cache_lock HSL flag off
fastcgi_cache_lock_age HSL 1 5s
fastcgi_cache_lock_timeout HSL 1 5s
fastcgi_cache_max_range_offset HSL 1
fastcgi_cache_methods HSL 1+ GET HEAD
fastcgi_cache_min_uses HSL 1 1
fastcgi_cache_path H 2+
fastcgi_cache_revalidate HSL flag off
fastcgi_cache_use_stale HSL 1+ off
fastcgi_cache_valid HSL 1+
fastcgi_catch_stderr HSL 1
fastcgi_connect_timeout HSL 1 60s
fastcgi_force_ranges HSL flag off
fastcgi_hide_header HSL 1
fastcgi_ignore_client_abort HSL flag off
fastcgi_ignore_headers HSL 1+
fastcgi_index HSL 1
fastcgi_intercept_errors HSL flag off
fastcgi_keep_conn HSL flag off
fastcgi_limit_rate HSL 1 0
fastcgi_max_temp_file_size HSL 1 1024m
fastcgi_next_upstream HSL 1+ error timeout
fastcgi_next_upstream_timeout HSL 1 0
fastcgi_next_upstream_tries HSL 1 0
fastcgi_no_cache HSL 1+
fastcgi_param HSL 2-3 HTTP_HOST $host$is_request_port$request_port
fastcgi_pass LJ 1
fastcgi_pass_header HSL 1
fastcgi_pass_request_body HSL flag on
fastcgi_pass_request_headers HSL flag on
fastcgi_read_timeout HSL 1 60s
fastcgi_request_buffering HSL flag on
fastcgi_send_lowat HSL 1 0
fastcgi_send_timeout HSL 1 60s
fastcgi_socket_keepalive HSL flag off
fastcgi_socket_rcvbuf HSL 1
fastcgi_socket_sndbuf HSL 1
fastcgi_split_path_info HSL 1
fastcgi_store HSL 1 off
fastcgi_store_access HSL 1-3 user:rw
fastcgi_temp_file_write_size HSL 1 8k|16k
fastcgi_temp_path HSL 1-4 fastcgi_temp
grpc_bind HSL 1-2
grpc_buffer_size HSL 1 4k|8k
grpc_connect_timeout HSL 1 60s
grpc_hide_header HSL 1
grpc_ignore_headers HSL 1+
grpc_intercept_errors HSL flag off
grpc_next_upstream HSL 1+ error timeout
grpc_next_upstream_timeout HSL 1 0
grpc_next_upstream_tries HSL 1 0
grpc_pass LJ 1
grpc_pass_header HSL 1
grpc_read_timeout HSL 1 60s
grpc_send_timeout HSL 1 60s
grpc_set_header HSL 2 Content-Length $content_length
grpc_socket_keepalive HSL flag off
grpc_socket_rcvbuf HSL 1
grpc_socket_sndbuf HSL 1
grpc_ssl_certificate HSL 1
grpc_ssl_certificate_cache HSL 1-3 off
grpc_ssl_certificate_key HSL 1
grpc_ssl_ciphers HSL 1 DEFAULT
grpc_ssl_conf_command HSL 2
grpc_ssl_crl HSL 1
grpc_ssl_name HSL 1 host from grpc_pass
grpc_ssl_password_file HSL 1
grpc_ssl_protocols HSL 1+ TLSv1.2 TLSv1.3
grpc_ssl_server_name HSL flag off
grpc_ssl_session_reuse HSL flag on
grpc_ssl_trusted_certificate HSL 1
grpc_ssl_verify HSL flag off
grpc_ssl_verify_depth HSL 1 1
memcached_bind HSL 1-2
memcached_buffer_size HSL 1 4k|8k
memcached_connect_timeout HSL 1 60s
memcached_gzip_flag HSL 1
memcached_next_upstream HSL 1+ error timeout
memcached_next_upstream_timeout HSL 1 0
memcached_next_upstream_tries HSL 1 0
memcached_pass LJ 1
memcached_read_timeout HSL 1 60s
memcached_send_timeout HSL 1 60s
memcached_socket_keepalive HSL flag off
proxy_bind HSLst 1-2
proxy_buffer_size HSLst 1 4k|8k
proxy_buffering HSL flag on
proxy_buffers HSL 2 8 4k|8k
proxy_busy_buffers_size HSL 1 8k|16k
proxy_cache HSL 1 off
proxy_cache_background_update HSL flag off
proxy_cache_bypass HSL 1+
proxy_cache_convert_head HSL flag on
proxy_cache_key HSL 1 $scheme$proxy_host$request_uri
proxy_cache_lock HSL flag off
proxy_cache_lock_age HSL 1 5s
proxy_cache_lock_timeout HSL 1 5s
proxy_cache_max_range_offset HSL 1
proxy_cache_methods HSL 1+ GET HEAD
proxy_cache_min_uses HSL 1 1
proxy_cache_path H 2+
proxy_cache_revalidate HSL flag off
proxy_cache_use_stale HSL 1+ off
proxy_cache_valid HSL 1+
proxy_connect_timeout HSLst 1 60s
proxy_cookie_domain HSL 1-2 off
proxy_cookie_flags HSL 1-4 off
proxy_cookie_path HSL 1-2 off
proxy_force_ranges HSL flag off
proxy_headers_hash_bucket_size HSL 1 64
proxy_headers_hash_max_size HSL 1 512
proxy_hide_header HSL 1
proxy_http_version HSL 1 1.1
proxy_ignore_client_abort HSL flag off
proxy_ignore_headers HSL 1+
proxy_intercept_errors HSL flag off
proxy_limit_rate HSL 1 0
proxy_max_temp_file_size HSL 1 1024m
proxy_method HSL 1
proxy_next_upstream HSLst 1+ error timeout
proxy_next_upstream_timeout HSLst 1 0
proxy_next_upstream_tries HSLst 1 0
proxy_no_cache HSL 1+
proxy_pass LJXt 1
proxy_pass_header HSL 1
proxy_pass_request_body HSL flag on
proxy_pass_request_headers HSL flag on
proxy_pass_trailers HSL flag off
proxy_read_timeout HSL 1 60s
proxy_redirect HSL 1-2 default
proxy_request_buffering HSL flag on
proxy_send_lowat HSL 1 0
proxy_send_timeout HSL 1 60s
proxy_set_body HSL 1
proxy_set_header HSL 2 Host $proxy_host
proxy_socket_keepalive HSLst flag off
proxy_socket_rcvbuf HSLst 1
proxy_socket_sndbuf HSLst 1
proxy_ssl_certificate HSLst 1
proxy_ssl_certificate_cache HSLst 1-3 off
proxy_ssl_certificate_key HSLst 1
proxy_ssl_ciphers HSLst 1 DEFAULT
proxy_ssl_conf_command HSLst 2
proxy_ssl_crl HSLst 1
proxy_ssl_name HSLst 1 $proxy_host
proxy_ssl_password_file HSLst 1
proxy_ssl_protocols HSLst 1+ TLSv1.2 TLSv1.3
proxy_ssl_server_name HSLst flag off
proxy_ssl_session_reuse HSLst flag on
proxy_ssl_trusted_certificate HSLst 1
proxy_ssl_verify HSLst flag off
proxy_ssl_verify_depth HSLst 1 1
proxy_store HSL 1 off
proxy_store_access HSL 1-3 user:rw
proxy_temp_file_write_size HSL 1 8k|16k
proxy_temp_path HSL 1-4 proxy_temp
scgi_bind HSL 1-2
scgi_buffer_size HSL 1 4k|8k
scgi_buffering HSL flag on
scgi_buffers HSL 2 8 4k|8k
scgi_busy_buffers_size HSL 1 8k|16k
scgi_cache HSL 1 off
scgi_cache_background_update HSL flag off
scgi_cache_bypass HSL 1+
scgi_cache_key HSL 1
scgi_cache_lock HSL flag off
scgi_cache_lock_age HSL 1 5s
scgi_cache_lock_timeout HSL 1 5s
scgi_cache_max_range_offset HSL 1
scgi_cache_methods HSL 1+ GET HEAD
scgi_cache_min_uses HSL 1 1
scgi_cache_path H 2+
scgi_cache_revalidate HSL flag off
scgi_cache_use_stale HSL 1+ off
scgi_cache_valid HSL 1+
scgi_connect_timeout HSL 1 60s
scgi_force_ranges HSL flag off
scgi_hide_header HSL 1
scgi_ignore_client_abort HSL flag off
scgi_ignore_headers HSL 1+
scgi_intercept_errors HSL flag off
scgi_limit_rate HSL 1 0
scgi_max_temp_file_size HSL 1 1024m
scgi_next_upstream HSL 1+ error timeout
scgi_next_upstream_timeout HSL 1 0
scgi_next_upstream_tries HSL 1 0
scgi_no_cache HSL 1+
scgi_param HSL 2-3 HTTP_HOST $host$is_request_port$request_port
scgi_pass LJ 1
scgi_pass_header HSL 1
scgi_pass_request_body HSL flag on
scgi_pass_request_headers HSL flag on
scgi_read_timeout HSL 1 60s
scgi_request_buffering HSL flag on
scgi_send_timeout HSL 1 60s
scgi_socket_keepalive HSL flag off
scgi_socket_rcvbuf HSL 1
scgi_socket_sndbuf HSL 1
scgi_store HSL 1 off
scgi_store_access HSL 1-3 user:rw
scgi_temp_file_write_size HSL 1 8k|16k
scgi_temp_path HSL 1-4 scgi_temp
tunnel_bind HSL 1-2
tunnel_buffer_size HSL 1 16k
tunnel_connect_timeout HSL 1 60s
tunnel_next_upstream HSL 1+ error timeout
tunnel_next_upstream_timeout HSL 1 0
tunnel_next_upstream_tries HSL 1 0
tunnel_pass SLJ 0-1
tunnel_read_timeout HSL 1 60s
tunnel_send_lowat HSL 1 0
tunnel_send_timeout HSL 1 60s
tunnel_socket_keepalive HSL flag off
tunnel_socket_rcvbuf HSL 1
tunnel_socket_sndbuf HSL 1
uwsgi_bind HSL 1-2
uwsgi_buffer_size HSL 1 4k|8k
uwsgi_buffering HSL flag on
uwsgi_buffers HSL 2 8 4k|8k
uwsgi_busy_buffers_size HSL 1 8k|16k
uwsgi_cache HSL 1 off
uwsgi_cache_background_update HSL 1 off
uwsgi_cache_bypass HSL 1+
uwsgi_cache_key HSL 1
uwsgi_cache_lock HSL flag off
uwsgi_cache_lock_age HSL 1 5s
uwsgi_cache_lock_timeout HSL 1 5s
uwsgi_cache_max_range_offset HSL 1
uwsgi_cache_methods HSL 1+ GET HEAD
uwsgi_cache_min_uses HSL 1 1
uwsgi_cache_path H 2+
uwsgi_cache_revalidate HSL flag off
uwsgi_cache_use_stale HSL 1+ off
uwsgi_cache_valid HSL 1+
uwsgi_connect_timeout HSL 1 60s
uwsgi_force_ranges HSL flag off
uwsgi_hide_header HSL 1
uwsgi_ignore_client_abort HSL flag off
uwsgi_ignore_headers HSL 1+
uwsgi_intercept_errors HSL flag off
uwsgi_limit_rate HSL 1 0
uwsgi_max_temp_file_size HSL 1 1024m
uwsgi_modifier1 HSL 1 0
uwsgi_modifier2 HSL 1 0
uwsgi_next_upstream HSL 1+ error timeout
uwsgi_next_upstream_timeout HSL 1 0
uwsgi_next_upstream_tries HSL 1 0
uwsgi_no_cache HSL 1+
uwsgi_param HSL 2-3 HTTP_HOST $host$is_request_port$request_port
uwsgi_pass LJ 1
uwsgi_pass_header HSL 1
uwsgi_pass_request_body HSL flag on
uwsgi_pass_request_headers HSL flag on
uwsgi_read_timeout HSL 1 60s
uwsgi_request_buffering HSL flag on
uwsgi_send_timeout HSL 1 60s
uwsgi_socket_keepalive HSL flag off
uwsgi_socket_rcvbuf HSL 1
uwsgi_socket_sndbuf HSL 1
uwsgi_ssl_certificate HSL 1
uwsgi_ssl_certificate_cache HSL 1-3 off
uwsgi_ssl_certificate_key HSL 1
uwsgi_ssl_ciphers HSL 1 DEFAULT
uwsgi_ssl_conf_command HSL 2
uwsgi_ssl_crl HSL 1
uwsgi_ssl_name HSL 1 host from uwsgi_pass
uwsgi_ssl_password_file HSL 1
uwsgi_ssl_protocols HSL 1+ TLSv1.2 TLSv1.3
uwsgi_ssl_server_name HSL flag off
uwsgi_ssl_session_reuse HSL flag on
uwsgi_ssl_trusted_certificate HSL 1
uwsgi_ssl_verify HSL flag off
uwsgi_ssl_verify_depth HSL 1 1
uwsgi_store HSL 1 off
uwsgi_store_access HSL 1-3 user:rw
uwsgi_string HSL 1
uwsgi_temp_file_write_size HSL 1 8k|16k
uwsgi_temp_path HSL 1-4 uwsgi_temp
"""
