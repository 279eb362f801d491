"""Media types by file extension, for a configuration that brings none."""

_BY_TYPE = {
    "text/html": "html htm shtml",
    "text/css": "css",
    "text/plain": "txt",
    "text/xml": "xml",
    "text/csv": "csv",
    "text/markdown": "md",
    "text/calendar": "ics",
    "application/javascript": "js mjs",
    "application/json": "json map",
    "application/pdf": "pdf",
    "application/wasm": "wasm",
    "application/zip": "zip",
    "application/gzip": "gz",
    "application/x-tar": "tar",
    "application/atom+xml": "atom",
    "application/rss+xml": "rss",
    "application/octet-stream": "bin deb iso img",
    "image/gif": "gif",
    "image/jpeg": "jpeg jpg",
    "image/png": "png",
    "image/svg+xml": "svg svgz",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/x-icon": "ico",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "font/ttf": "ttf",
    "font/otf": "otf",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/x-m4a": "m4a",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/quicktime": "mov",
}

MEDIA_TYPES = {
    extension: kind for kind, extensions in _BY_TYPE.items() for extension in extensions.split()
}
