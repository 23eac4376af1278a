import HTTP
import Insight
import Serialization

/// The built-in traces over HTTP: `/skein/v1/traces`, and `/skein/v1/traces/ID`.
///
/// On the API for administrators; and beside the overview, where no attribute is shown that may hold a field's value.
enum TracePages {
    private static let list = "/skein/v1/traces"

    /// The answer; nil when it is another page.
    static func answer(_ request: HTTPRequest, _ service: TraceService?, isPublic: Bool) -> HTTPResponse? {
        guard request.path == list || request.path.hasPrefix(list + "/") else { return nil }
        guard request.head.method == .get else { return HTTPResponse(status: 405, text: "GET only\n") }
        guard let service else { return HTTPResponse(status: 503, text: "no traces are kept here\n") }
        let store = service.store
        if request.path == list {
            switch TraceQuestion.read(request.queryItems, now: TraceService.now) {
            case .failure(let error): return HTTPResponse(status: 400, text: "\(error.description)\n")
            case .success(let question):
                return json([
                    "traces": .array(store.find(question).map(\.json)), "counts": store.countsJSON,
                ])
            }
        }
        return one(String(request.path.dropFirst(list.count + 1)), store, isPublic: isPublic)
    }

    private static func one(_ text: String, _ store: TraceStore, isPublic: Bool) -> HTTPResponse {
        var id = TraceID(text)
        // The first digits will do, as long as they are those of one trace.
        if id == nil, text.utf8.count >= 4, text.utf8.count < 32, text.allSatisfy(\.isHexDigit) {
            let found = store.ids(beginningWith: text)
            guard found.count <= 1 else {
                return HTTPResponse(status: 409, text: "\(text): several traces begin so\n")
            }
            id = found.first
            guard id != nil else { return HTTPResponse(status: 404, text: "trace \(text) is not in the store\n") }
        }
        guard let id else { return HTTPResponse(status: 400, text: "no trace id: 32 or 16 hexadecimal digits\n") }
        guard let view = store.trace(id) else {
            return HTTPResponse(status: 404, text: "trace \(id) is not in the store\n")
        }
        return json(view.json(isPublic: isPublic))
    }

    private static func json(_ value: JSON) -> HTTPResponse {
        HTTPResponse(status: 200, contentType: "application/json", body: value.bytes)
    }
}
