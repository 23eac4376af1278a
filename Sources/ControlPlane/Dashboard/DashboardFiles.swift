import HTTP
import IO
import Serialization

/// Serves the files of the dashboard, which are part of the program.
enum DashboardFiles {
    private static let types: [String: StaticString] = [
        "html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
    ]

    /// `index.html` for `/dashboard` and `/dashboard/`, the file of that name below it; no other path leads anywhere.
    static func answer(_ request: HTTPRequest) -> HTTPResponse {
        var name = String(request.path.dropFirst("/dashboard".count))
        if name.hasPrefix("/") { name.removeFirst() }
        if name.isEmpty { name = "index.html" }
        guard let asset = DashboardAssets.all[name],
            let type = name.split(separator: ".").last.flatMap({ types[String($0)] })
        else { return HTTPResponse(status: 404, text: "the dashboard has no such file\n") }
        let tag = "\"\(asset.digest)\""
        let isKnown = request.head.headers["if-none-match"] == tag
        var response =
            isKnown
            ? HTTPResponse(status: 304) : HTTPResponse(status: 200, contentType: type, body: Array(asset.text.utf8))
        // A new program has new files: they are asked for each time, and sent only when they differ.
        try? response.head.headers.append(.cacheControl, "no-cache")
        try? response.head.headers.append("etag", tag)
        return response
    }
}
