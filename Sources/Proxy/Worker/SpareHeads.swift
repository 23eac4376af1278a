internal import HTTP

/// Storage of request and response heads that waits for the next stream of the loop.
///
/// A head owns two arrays. Taking them over from an ended stream saves four allocations a request, and an idle connection holds none.
struct SpareHeads {
    /// Heads kept; beyond it they are freed.
    private static let keptMax = 256
    /// A head that grew beyond this is freed: one large request must not fill memory for good.
    private static let keptBytesMax = 16_384

    private var requests: [RequestHead] = []
    private var responses: [ResponseHead] = []

    /// Gives an empty head the storage of a former one.
    mutating func take(_ head: inout RequestHead) {
        guard var spare = requests.popLast() else { return }
        spare.removeAll()
        swap(&head, &spare)
    }

    mutating func take(_ head: inout ResponseHead) {
        guard var spare = responses.popLast() else { return }
        spare.removeAll()
        swap(&head, &spare)
    }

    /// Takes the storage of an ended stream's heads.
    mutating func give(_ request: inout RequestHead, _ response: inout ResponseHead) {
        if requests.count < Self.keptMax, (1...Self.keptBytesMax).contains(request.headers.storageBytes) {
            requests.append(request)
            request = RequestHead()
        }
        if responses.count < Self.keptMax, (1...Self.keptBytesMax).contains(response.headers.storageBytes) {
            responses.append(response)
            response = ResponseHead()
        }
    }
}
