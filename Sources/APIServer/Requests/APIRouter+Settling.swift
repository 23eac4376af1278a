import Store

extension APIRouter {
    /// How often a request is answered anew because another server wrote first, before its client is asked to come again.
    static let attemptsMax = 20

    /// Answers one request; the answer is given only when everything it tells of is safe.
    ///
    /// Where other servers write too, a read first waits for what they have written (except with `resourceVersion=0`), and
    /// a request whose writes were taken back is answered anew from what is there now.
    public func settledAnswer(_ request: APIRequest) async -> APIResponse {
        let store = registry.store
        let reads = request.method == "GET" || request.method == "HEAD"
        let isAboutObjects =
            request.user != nil && request.path.count > 2
            && (request.path.first == "api" || request.path.first == "apis")
        var isFresh = !store.isShared || !isAboutObjects || request.query["resourceVersion"] == "0"
        do throws(StoreError) {
            if reads, !isFresh {
                try await store.refreshed()
                isFresh = true
            }
            var failure = StoreError.overtaken
            for _ in 0..<Self.attemptsMax {
                let answer = answer(request)
                // Before anything is awaited: later it could not be told that what the answer tells of was taken back.
                let settlement = try store.settlement()
                if !isFresh, answer.status >= 400 {
                    // What it was refused for may be over at another server.
                    try await store.refreshed()
                    isFresh = true
                    continue
                }
                do throws(StoreError) {
                    try await settlement?.wait()
                    return answer
                } catch {
                    failure = error
                    guard reads || error == .overtaken else { throw error }
                }
            }
            throw failure
        } catch {
            return .failure(StatusError(error))
        }
    }
}
