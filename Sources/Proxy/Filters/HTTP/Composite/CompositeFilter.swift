internal import HTTP
internal import Upstream

/// Asks the tree when the request's head comes, or the response's where it asks about that, and puts filters behind itself.
///
/// What it puts in stands in the walk like any other filter; the response passes it before it passes this one.
final class CompositeFilter: HTTPFilter {
    private let config: CompositeFilterConfig
    private let matching: CompositeFilterConfig.Matching
    private var inserted: [any HTTPFilter] = []
    /// Stands in front of what may be skipped on the way back.
    private var gate: CompositeGate?

    init(_ config: CompositeFilterConfig, _ matching: CompositeFilterConfig.Matching) {
        self.config = config
        self.matching = matching
        interest = matching.asksResponse && config.inner == nil ? [.requestHead, .responseHead] : .requestHead
    }

    let interest: FilterInterest

    private func find(_ stream: HTTPStream) -> CompositeFilterConfig.Action? {
        let view = RequestRBACView(stream)
        return matching.tree.find(facts: { $0.fact(stream, view) }, holds: { view.holds($0) })
    }

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        if let inner = config.inner {
            if !matching.asksResponse, case .skip? = find(stream) { return .next }
            insert([inner], stream)
            if matching.asksResponse, let filter = inserted.first { watch(filter, stream) }
            return .next
        }
        if !matching.asksResponse { execute(stream, onlyResponse: false) }
        return .next
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        execute(stream, onlyResponse: true)
        return .next
    }

    private func execute(_ stream: HTTPStream, onlyResponse: Bool) {
        guard case .execute(let execution)? = find(stream), !execution.filters.isEmpty else { return }
        if let share = execution.share, !share.includes(random: stream.worker.random.next()) { return }
        config.executed(execution, stream)
        insert(execution.filters, stream, onlyResponse: onlyResponse)
    }

    private func insert(_ configs: [any HTTPFilterConfig], _ stream: HTTPStream, onlyResponse: Bool = false) {
        let made = configs.compactMap { $0.make(stream) }
        guard !made.isEmpty else { return }
        inserted = made
        stream.insert(made, behind: self, onlyResponse: onlyResponse)
    }

    /// The response is asked about before the filter sees it.
    private func watch(_ filter: any HTTPFilter, _ stream: HTTPStream) {
        let gate = CompositeGate { [weak self] stream in
            guard let self, case .skip? = self.find(stream) else { return }
            stream.removeFromResponse(filter)
        }
        self.gate = gate
        stream.insertIntoResponse(gate, before: filter)
    }
}

/// Looks at the head of a response before a filter that may be skipped.
final class CompositeGate: HTTPFilter {
    private let look: (HTTPStream) -> Void

    init(_ look: @escaping (HTTPStream) -> Void) { self.look = look }

    let interest: FilterInterest = .responseHead

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        look(stream)
        return .next
    }
}

extension HTTPStream {
    /// Puts filters behind one that is at work on the request, or on the response alone.
    func insert(_ made: [any HTTPFilter], behind filter: any HTTPFilter, onlyResponse: Bool) {
        let isOfTry = flow(.request, of: filter) == .upstreamRequest
        let (request, response): (FilterDirection.Flow, FilterDirection.Flow) =
            isOfTry ? (.upstreamRequest, .upstreamResponse) : (.request, .response)
        if onlyResponse {
            direction(response) { $0.insert(made.reversed(), behind: filter) }
        } else {
            direction(request) { $0.insert(made, behind: filter) }
            direction(response) { $0.insert(made.reversed(), before: filter) }
        }
        // Those of a try are told of its end by the walk they stand in.
        if isOfTry {
            if onlyResponse { upstreamFilters?.extra += made }
        } else if let index = filters.firstIndex(where: { $0 === filter }) {
            filters.insert(contentsOf: made, at: index + 1)
        }
    }

    func insertIntoResponse(_ gate: any HTTPFilter, before filter: any HTTPFilter) {
        let isOfTry = flow(.request, of: filter) == .upstreamRequest
        direction(isOfTry ? .upstreamResponse : .response) { $0.insert([gate], before: filter) }
    }

    /// The response passes a filter over.
    func removeFromResponse(_ filter: any HTTPFilter) {
        let isOfTry = flow(.request, of: filter) == .upstreamRequest
        direction(isOfTry ? .upstreamResponse : .response) { $0.remove(filter) }
    }
}
