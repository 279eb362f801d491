"""The built-in media types by file extension, for sites and for a missing mime.types."""

_TYPES = """
text/html html htm shtml
text/css css
text/xml xml
text/plain txt log conf
text/csv csv
text/markdown md
text/calendar ics
text/vcard vcf
text/vtt vtt
text/x-component htc
image/gif gif
image/jpeg jpeg jpg
image/png png
image/apng apng
image/avif avif
image/webp webp
image/svg+xml svg svgz
image/tiff tif tiff
image/bmp bmp
image/x-icon ico
image/heic heic
font/woff woff
font/woff2 woff2
font/ttf ttf
font/otf otf
font/collection ttc
application/javascript js mjs
application/json json map
application/ld+json jsonld
application/manifest+json webmanifest
application/wasm wasm
application/atom+xml atom
application/rss+xml rss
application/xhtml+xml xhtml
application/xslt+xml xsl xslt
application/xspf+xml xspf
application/pdf pdf
application/rtf rtf
application/postscript ps eps ai
application/epub+zip epub
application/zip zip
application/gzip gz tgz
application/zstd zst
application/x-bzip2 bz2
application/x-xz xz
application/x-7z-compressed 7z
application/x-rar-compressed rar
application/x-tar tar
application/java-archive jar war ear
application/yaml yaml yml
application/toml toml
application/sql sql
application/x-sh sh
application/x-x509-ca-cert crt pem der
application/vnd.ms-excel xls
application/vnd.ms-powerpoint ppt
application/msword doc
application/vnd.openxmlformats-officedocument.wordprocessingml.document docx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx
application/vnd.openxmlformats-officedocument.presentationml.presentation pptx
application/vnd.oasis.opendocument.text odt
application/vnd.oasis.opendocument.spreadsheet ods
application/vnd.oasis.opendocument.presentation odp
application/vnd.apple.mpegurl m3u8
application/octet-stream bin exe dll deb dmg iso img msi rpm
audio/midi mid midi
audio/mpeg mp3
audio/mp4 m4a
audio/ogg ogg oga opus
audio/flac flac
audio/aac aac
audio/wav wav
video/mp4 mp4 m4v
video/mp2t ts
video/mpeg mpeg mpg
video/ogg ogv
video/quicktime mov
video/webm webm
video/x-msvideo avi
video/x-matroska mkv
video/3gpp 3gp 3gpp
"""

BUILT_IN_TYPES: dict[str, str] = {
    extension: words[0]
    for words in (line.split() for line in _TYPES.strip().splitlines())
    for extension in words[1:]
}
