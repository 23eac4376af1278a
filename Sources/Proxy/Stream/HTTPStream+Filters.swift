internal import IO
internal import Upstream

// Which filters a request passes: what its route says of them counts, so they are chosen anew when the route changes.
extension HTTPStream {
    /// Makes the filters of this request, for the route that it has now.
    func makeFilters() {
        guard !manager.filters.isEmpty else { return }
        makeFilters(from: 0)
    }

    private func makeFilters(from start: Int) {
        let route = firstRoute ?? currentRoute
        // Few routes switch filters: only for those their names are asked for.
        let switching = route.flatMap { $0.filterSwitches.isEmpty ? nil : $0 }
        // Where they lie: one taken out of the list is a copy whose references are counted.
        let list = manager.filters
        let factories = list.span
        for position in start..<factories.count {
            var isOff = factories[position].isDisabled
            if let switching { isOff = switching.isDisabled(factories[position].name, otherwise: isOff) }
            guard !isOff || explanation != nil else { continue }
            let made: (any HTTPFilter)? =
                if let explanation {
                    explainFilter(explanation, factories[position], isOff: isOff)
                } else {
                    factories[position].make(self)
                }
            guard let made else { continue }
            filters.append(made)
            requestFilters.append(made, position: position)
        }
        if !filters.isEmpty || !responseFilters.isEmpty { responseFilters.replace(with: filters.reversed()) }
        filtersAreStale = false
    }

    /// Makes those filters anew that have not seen the head: the route is another, and may configure them otherwise.
    func remakeFilters() {
        filtersAreStale = false
        guard !responseFilters.hasBegun else { return }
        let (seen, last) = requestFilters.removeUnseen()
        for filter in filters[seen...] { filter.streamEnded(self) }
        filters.removeSubrange(seen...)
        makeFilters(from: last + 1)
    }

    /// The request begins anew at its first filter, since a route has come that was not there when its filters were made.
    ///
    /// As Envoy, which makes another stream of it. Filters that keep a part of the body in the meantime or have changed it cannot
    /// see it again: then only those behind `filter` are made anew.
    ///
    /// - Parameter filter: The one that stopped the request.
    /// - Returns: Whether it has begun anew; if not, `filter` is still to resume.
    func startOver(_ filter: any HTTPFilter) -> Bool {
        firstRoute = nil
        span?.routeFound(self)
        guard let (held, isEnd) = requestFilters.takeForStartingOver(from: filter) else {
            filtersAreStale = true
            return false
        }
        beginAnew(body: held, isEnd: isEnd)
        return true
    }

    /// Passes the request through filters that are made anew.
    ///
    /// - Parameters:
    ///   - body: What of its body has come.
    ///   - isEnd: Whether that is all of it.
    func beginAnew(body: ByteBuffer?, isEnd: Bool) {
        firstRoute = nil
        for filter in filters { filter.streamEnded(self) }
        filters = []
        requestFilters.clear()
        responseFilters.clear()
        makeFilters(from: 0)
        if runHead(.request, isEnd: requestHasNoBody) { deliverHead(.request) }
        if isFinished { return }
        if let body, !body.isEmpty {
            runBody(.request, body.bytes, isEnd: isEnd)
        } else if isEnd {
            runBody(.request, UnsafeRawBufferPointer(start: nil, count: 0), isEnd: true)
        }
        if !isFinished {
            heldBodyLeft(.request)
            armTimer()
        }
    }

    /// A filter keeps more of a body than it may.
    func bodyTooLarge(_ flow: FilterDirection.Flow) {
        if flow.isRequest {
            router?.abandon()
            localReply(status: 413, body: "Payload Too Large", details: "request_payload_too_large")
        } else {
            router?.abandon()
            responseFilters.bypass()
            info.details = "response_payload_too_large"
            localReply(status: 500, body: "Internal Server Error", details: "response_payload_too_large")
        }
    }

    /// What a filter held is on its way: whoever filled it may go on.
    func heldBodyLeft(_ flow: FilterDirection.Flow) {
        if flow.isRequest { connection?.requestMayContinue() } else { router?.responseMayContinue() }
    }
}
