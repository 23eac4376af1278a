internal import HTTP

/// The filters of one stream in one direction, and how far head, body and trailers have come.
///
/// A head runs through the filters until one stops. What follows it waits behind the filter that stopped: shown to that filter
/// (`stop`) or not (`stopAll`). Several filters may hold parts of a body at the same time, each its own.
struct FilterDirection {
    private struct Slot {
        let filter: any HTTPFilter
        let interest: FilterInterest
        /// Its place among the filters that are configured.
        let position: Int
        /// Another filter put it there, and wants it to stay where the route changes.
        var isInserted = false
        var gate = Gate.open
        var held: ByteBuffer?
        /// The end of the body came while the gate was closed.
        var holdsEnd = false
        /// The filter collects the body: what it holds is no reason to read no further.
        var collects = false
    }

    private enum Gate { case open, stopped, stoppedAll }

    /// Between client and router, or between router and host.
    enum Flow {
        case request, response, upstreamRequest, upstreamResponse

        var isRequest: Bool { self == .request || self == .upstreamRequest }
        /// The same way behind the router.
        var upstream: Flow { isRequest ? .upstreamRequest : .upstreamResponse }
    }

    let flow: Flow
    private var slots: [Slot] = []
    /// Filters before this one have seen the head.
    private var front = 0
    /// The trailers that follow the end of the body; a filter may look at them, change them or make some when it sees the end.
    var trailers: HeaderTable?
    /// Body that filters keep.
    private(set) var heldBytes = 0
    /// Most that they may keep; beyond it 413 or 500.
    var heldBytesMax = Limits.filterBufferBytes
    /// The head has left the last filter.
    private(set) var headHasPassed = false

    init(_ flow: Flow) { self.flow = flow }

    var isEmpty: Bool { slots.isEmpty }

    /// Whether so much waits for a filter that the sender must pause.
    ///
    /// What a filter collects does not count: it wants the rest.
    var pausesSender: Bool {
        let bound = min(Limits.bufferBytes, heldBytesMax)
        guard heldBytes >= bound else { return false }
        var waiting = 0
        for slot in slots where !slot.collects { waiting += slot.held?.count ?? 0 }
        return waiting >= bound
    }

    /// A filter has seen the head.
    var hasBegun: Bool { front > 0 }

    /// - Parameter position: The filter's place among those that are configured.
    mutating func append(_ filter: any HTTPFilter, position: Int) {
        slots.append(Slot(filter: filter, interest: filter.interest, position: position))
    }

    /// Every filter, in the order of this direction.
    var all: [any HTTPFilter] { slots.map(\.filter) }

    func has(_ filter: any HTTPFilter) -> Bool { slots.contains { $0.filter === filter } }

    /// Puts filters right behind one that is at work, which they belong to.
    mutating func insert(_ filters: [any HTTPFilter], behind filter: any HTTPFilter) {
        guard let index = slots.firstIndex(where: { $0.filter === filter }) else { return }
        slots.insert(contentsOf: made(filters, index), at: index + 1)
    }

    /// Puts filters right in front of one whose turn has not come.
    mutating func insert(_ filters: [any HTTPFilter], before filter: any HTTPFilter) {
        guard let index = slots.firstIndex(where: { $0.filter === filter }), index >= front else { return }
        slots.insert(contentsOf: made(filters, index), at: index)
    }

    private func made(_ filters: [any HTTPFilter], _ index: Int) -> [Slot] {
        filters.map { filter in
            var slot = Slot(filter: filter, interest: filter.interest, position: slots[index].position)
            slot.isInserted = true
            return slot
        }
    }

    /// Takes a filter away whose turn has not come.
    mutating func remove(_ filter: any HTTPFilter) {
        guard let index = slots.firstIndex(where: { $0.filter === filter }), index >= front else { return }
        slots.remove(at: index)
    }

    /// Other filters, before anything has come.
    mutating func replace(with filters: some Sequence<any HTTPFilter>) {
        slots.removeAll(keepingCapacity: true)
        for filter in filters { append(filter, position: 0) }
    }

    /// Takes the filters away that have not seen the head.
    ///
    /// - Returns: How many have, and the place of the last of them among those that are configured, -1 without one.
    mutating func removeUnseen() -> (count: Int, position: Int) {
        var seen = min(front, slots.count)
        while seen < slots.count, slots[seen].isInserted { seen += 1 }
        slots.removeSubrange(seen...)
        return (seen, slots.last?.position ?? -1)
    }

    /// What waits before a filter that stopped everything, for all filters to see it anew; nil when one of them has seen or keeps a part.
    mutating func takeForStartingOver(from filter: any HTTPFilter) -> (held: ByteBuffer?, isEnd: Bool)? {
        guard let index = slots.firstIndex(where: { $0.filter === filter && $0.gate == .stoppedAll }) else {
            return nil
        }
        let held = slots[index].held
        if held?.isEmpty == false || slots[index].holdsEnd {
            for slot in slots[..<index] where !slot.interest.isDisjoint(with: [.requestBody, .requestTrailers]) {
                return nil
            }
        }
        for slot in slots[..<index] where slot.held != nil { return nil }
        return takeHeld(index)
    }

    /// Begins anew, without filters; trailers that came stay.
    mutating func clear() {
        slots.removeAll(keepingCapacity: true)
        front = 0
        heldBytes = 0
        headHasPassed = false
    }

    /// No filter sees anything any more: the answer is the proxy's own, made by a filter of this direction.
    mutating func bypass() {
        slots = []
        trailers = nil
        heldBytes = 0
    }

    private mutating func discard(_ index: Int) {
        heldBytes -= slots[index].held?.count ?? 0
        slots[index].held = nil
    }

    fileprivate mutating func takeHeld(_ index: Int) -> (ByteBuffer?, isEnd: Bool) {
        guard slots.indices.contains(index) else { return (nil, false) }
        let held = slots[index].held
        let isEnd = slots[index].holdsEnd
        discard(index)
        slots[index].holdsEnd = false
        return (held, isEnd)
    }
}

// The walk through the filters. It is the stream's, since each call may end the stream or change its filters.
extension HTTPStream {
    /// A filter and what it wants, without the copy of the whole direction that the subscript's getter makes.
    private func slot(_ flow: FilterDirection.Flow, _ index: Int) -> (
        any HTTPFilter, FilterInterest, FilterDirection.BodyGate
    )? {
        switch flow {
        case .request: requestFilters.body(index)
        case .response: responseFilters.body(index)
        case .upstreamRequest: upstreamFilters?.request.body(index)
        case .upstreamResponse: upstreamFilters?.response.body(index)
        }
    }

    private func isWithoutFilters(_ flow: FilterDirection.Flow) -> Bool {
        switch flow {
        case .request: requestFilters.isEmpty
        case .response: responseFilters.isEmpty
        case .upstreamRequest: upstreamFilters?.request.isEmpty ?? true
        case .upstreamResponse: upstreamFilters?.response.isEmpty ?? true
        }
    }

    /// Runs the head from a filter on; true when it has passed the last.
    func runHead(_ flow: FilterDirection.Flow, isEnd: Bool) -> Bool {
        while true {
            if filtersAreStale, flow == .request { remakeFilters() }
            guard let next = direction(flow, { $0.nextForHead() }) else { break }
            guard next.interest.contains(flow.isRequest ? .requestHead : .responseHead) else { continue }
            let step =
                flow.isRequest
                ? next.filter.requestHead(self, isEnd: isEnd) : next.filter.responseHead(self, isEnd: isEnd)
            if isFinished || isWithoutFilters(flow) { return false }
            guard step == .next else {
                direction(flow) { $0.close(next.index, all: step == .stopAll) }
                return false
            }
        }
        direction(flow) { $0.headPassed() }
        return true
    }

    /// Runs a piece of the body from a filter on; `isEnd`: none follows.
    func runBody(_ flow: FilterDirection.Flow, _ bytes: UnsafeRawBufferPointer, isEnd: Bool, from start: Int = 0) {
        var chunk = BodyChunk(bytes)
        var index = start
        // A message without a body has no piece to show: its end only waits at closed gates.
        let isBodyless = flow.isRequest ? requestHasNoBody : responseHasNoBody
        while let (filter, interest, gate) = slot(flow, index) {
            if gate == .all || (isBodyless && gate == .stopped) {
                return direction(flow) { $0.hold(index, chunk, isEnd: isEnd, pool: worker.blocks) }
            }
            if !isBodyless, interest.contains(flow.isRequest ? .requestBody : .responseBody) {
                let step =
                    flow.isRequest
                    ? filter.requestBody(self, &chunk, isEnd: isEnd) : filter.responseBody(self, &chunk, isEnd: isEnd)
                if isFinished || isWithoutFilters(flow) { return }
                switch step {
                case .next:
                    if gate == .stopped || direction(flow, { $0.holds(index) }) {
                        direction(flow) { $0.hold(index, chunk, isEnd: isEnd, pool: worker.blocks) }
                        return release(flow, index)
                    }
                case .hold, .wait:
                    direction(flow) { $0.hold(index, chunk, isEnd: isEnd, pool: worker.blocks) }
                    direction(flow) { $0.keep(index, collecting: step == .hold) }
                    if direction(flow, { $0.heldBytes > $0.heldBytesMax }) { bodyTooLarge(flow) }
                    return
                case .drop:
                    guard isEnd else { return }
                    chunk = BodyChunk(UnsafeRawBufferPointer(start: nil, count: 0))
                }
            } else if gate == .stopped {
                return direction(flow) { $0.hold(index, chunk, isEnd: isEnd, pool: worker.blocks) }
            }
            index += 1
        }
        chunk.withBytes { deliverBody(flow, $0, isEnd: isEnd) }
        if isEnd && !isFinished { runTrailers(flow) }
    }

    /// Trailers follow the end of the body through the filters, and the end of the message follows them.
    private func runTrailers(_ flow: FilterDirection.Flow) {
        guard var trailers = direction(flow, { $0.takeTrailers() }) else { return deliverEnd(flow, HeaderTable()) }
        var index = 0
        while let (filter, interest, _) = slot(flow, index) {
            if interest.contains(flow.isRequest ? .requestTrailers : .responseTrailers) {
                // Trailers cannot wait: who must think about them holds the end of the body instead.
                _ =
                    flow.isRequest
                    ? filter.requestTrailers(self, &trailers) : filter.responseTrailers(self, &trailers)
                if isFinished { return }
            }
            index += 1
        }
        deliverEnd(flow, trailers)
    }

    /// The end of the message has been read.
    func runEnd(_ flow: FilterDirection.Flow, _ trailers: borrowing HeaderTable) {
        direction(flow) { $0.keep(trailers) }
        runBody(flow, UnsafeRawBufferPointer(start: nil, count: 0), isEnd: true)
    }

    /// A filter that stopped goes on: head first, then what was held behind it.
    func resume(_ flow: FilterDirection.Flow, _ filter: any HTTPFilter) {
        let flow = self.flow(flow, of: filter)
        guard !isFinished, let index = direction(flow, { $0.closedIndex(of: filter) }) else { return }
        release(flow, index)
        armTimer()
    }

    /// Lets the first bytes of what a filter keeps go on; the gate opens when nothing is left and the body has ended.
    ///
    /// - Returns: What is still kept.
    @discardableResult
    func passHeld(_ flow: FilterDirection.Flow, _ filter: any HTTPFilter, bytes: Int) -> Int {
        let flow = self.flow(flow, of: filter)
        guard !isFinished, let index = direction(flow, { $0.closedIndex(of: filter) }) else { return 0 }
        let piece = direction(flow) { $0.takeHeld(index, upTo: bytes) }
        let left = direction(flow) { $0.heldCount(index) }
        if left == 0 && direction(flow, { $0.holdsEnd(index) }) {
            direction(flow) { $0.openGate(index) }
            _ = direction(flow) { $0.takeHeld(index) }
            piece.withUnsafeBytes { runBody(flow, $0, isEnd: true, from: index + 1) }
        } else if !piece.isEmpty {
            piece.withUnsafeBytes { runBody(flow, $0, isEnd: false, from: index + 1) }
        }
        if !isFinished {
            heldBodyLeft(flow)
            armTimer()
        }
        return left
    }

    /// Lets the head of a filter that stopped go on, and keeps the body before it.
    func passHead(_ flow: FilterDirection.Flow, _ filter: any HTTPFilter) {
        let flow = self.flow(flow, of: filter)
        guard !isFinished, let index = direction(flow, { $0.closedIndex(of: filter) }),
            direction(flow, { $0.isFront(index) })
        else { return }
        let endsWithHead = flow.isRequest ? requestHasNoBody : responseHasNoBody
        if runHead(flow, isEnd: endsWithHead) { deliverHead(flow) }
        if !isFinished { armTimer() }
    }

    /// Lets the first bytes of what a filter keeps go on, or others in their place.
    ///
    /// - Parameter isEnd: With them the body ends, and the gate opens.
    func pass(
        _ flow: FilterDirection.Flow, _ filter: any HTTPFilter, _ count: Int, as replacement: [UInt8]?, isEnd: Bool
    ) {
        let flow = self.flow(flow, of: filter)
        guard !isFinished, let index = direction(flow, { $0.closedIndex(of: filter) }) else { return }
        let piece = direction(flow) { $0.takeHeld(index, upTo: count) }
        let bytes = replacement ?? piece
        if isEnd {
            direction(flow) { $0.openGate(index) }
            _ = direction(flow) { $0.takeHeld(index) }
            bytes.withUnsafeBytes { runBody(flow, $0, isEnd: true, from: index + 1) }
        } else if !bytes.isEmpty {
            bytes.withUnsafeBytes { runBody(flow, $0, isEnd: false, from: index + 1) }
        }
        if !isFinished {
            heldBodyLeft(flow)
            armTimer()
        }
    }

    /// Puts bytes in the place of the first ones that a filter keeps.
    func replaceHeld(_ flow: FilterDirection.Flow, _ filter: any HTTPFilter, first count: Int, with bytes: [UInt8]) {
        let flow = self.flow(flow, of: filter)
        guard !isFinished, let index = direction(flow, { $0.closedIndex(of: filter) }) else { return }
        direction(flow) { $0.replaceHeld(index, first: count, with: bytes, pool: worker.blocks) }
    }

    /// A filter that stopped collects the body from here on: what it holds is no reason to read no further.
    func collect(_ flow: FilterDirection.Flow, _ filter: any HTTPFilter) {
        let flow = self.flow(flow, of: filter)
        guard !isFinished, let index = direction(flow, { $0.closedIndex(of: filter) }) else { return }
        direction(flow) { $0.keep(index, collecting: true) }
        heldBodyLeft(flow)
    }

    /// A copy of what a filter keeps of the body.
    func held(_ flow: FilterDirection.Flow, _ filter: any HTTPFilter) -> [UInt8] {
        let flow = self.flow(flow, of: filter)
        return direction(flow) { way in way.closedIndex(of: filter).map { way.heldCopy($0) } ?? [] }
    }

    /// What a filter keeps of the body.
    func heldBytes(_ flow: FilterDirection.Flow, _ filter: any HTTPFilter) -> Int {
        let flow = self.flow(flow, of: filter)
        return direction(flow) { way in way.closedIndex(of: filter).map { way.heldCount($0) } ?? 0 }
    }

    /// Puts other bytes in the place of what a filter keeps of the body.
    func replaceHeld(_ flow: FilterDirection.Flow, _ filter: any HTTPFilter, with bytes: [UInt8]) {
        let flow = self.flow(flow, of: filter)
        guard let index = direction(flow, { $0.closedIndex(of: filter) }) else { return }
        direction(flow) { $0.replaceHeld(index, bytes, pool: worker.blocks) }
    }

    /// Whether the end of the body stands behind what a filter keeps.
    func holdsEnd(_ flow: FilterDirection.Flow, _ filter: any HTTPFilter) -> Bool {
        let flow = self.flow(flow, of: filter)
        return direction(flow) { way in way.closedIndex(of: filter).map { way.holdsEnd($0) } ?? false }
    }

    private func release(_ flow: FilterDirection.Flow, _ index: Int) {
        // What stood before the filter is shown to it; what it has seen goes to the next one.
        let next = direction(flow, { $0.isStoppedBefore(index) }) ? index : index + 1
        direction(flow) { $0.openGate(index) }
        let (held, isEnd) = direction(flow) { $0.takeHeld(index) }
        if direction(flow, { $0.isFront(index) }) {
            let endsWithHead = flow.isRequest ? requestHasNoBody : responseHasNoBody
            if runHead(flow, isEnd: endsWithHead) { deliverHead(flow) }
            if isFinished { return }
        }
        if let held, !held.isEmpty {
            runBody(flow, held.bytes, isEnd: isEnd, from: next)
        } else if isEnd {
            runBody(flow, UnsafeRawBufferPointer(start: nil, count: 0), isEnd: true, from: next)
        }
        if !isFinished { heldBodyLeft(flow) }
    }
}

extension FilterDirection {
    enum BodyGate { case open, stopped, all }

    fileprivate mutating func nextForHead() -> (index: Int, filter: any HTTPFilter, interest: FilterInterest)? {
        guard front < slots.count else { return nil }
        let slot = slots[front]
        front += 1
        return (front - 1, slot.filter, slot.interest)
    }

    fileprivate mutating func headPassed() { headHasPassed = true }

    fileprivate func isFront(_ index: Int) -> Bool { front == index + 1 && !headHasPassed }

    fileprivate mutating func close(_ index: Int, all: Bool) {
        guard slots.indices.contains(index) else { return }
        slots[index].gate = all ? .stoppedAll : .stopped
    }

    fileprivate func isStoppedBefore(_ index: Int) -> Bool {
        slots.indices.contains(index) && slots[index].gate == .stoppedAll
    }

    fileprivate mutating func openGate(_ index: Int) {
        guard slots.indices.contains(index) else { return }
        slots[index].gate = .open
        slots[index].collects = false
    }

    fileprivate func body(_ index: Int) -> (any HTTPFilter, FilterInterest, BodyGate)? {
        guard index < slots.count else { return nil }
        let slot = slots[index]
        let gate: BodyGate =
            switch slot.gate {
            case .open: .open
            case .stopped: .stopped
            case .stoppedAll: .all
            }
        return (slot.filter, slot.interest, gate)
    }

    fileprivate mutating func keep(_ index: Int, collecting: Bool) {
        guard slots.indices.contains(index) else { return }
        if slots[index].gate == .open { slots[index].gate = .stopped }
        slots[index].collects = collecting
    }

    fileprivate func closedIndex(of filter: any HTTPFilter) -> Int? {
        slots.firstIndex { $0.filter === filter && $0.gate != .open }
    }

    fileprivate func heldCount(_ index: Int) -> Int {
        slots.indices.contains(index) ? slots[index].held?.count ?? 0 : 0
    }

    fileprivate func holdsEnd(_ index: Int) -> Bool { slots.indices.contains(index) && slots[index].holdsEnd }

    fileprivate mutating func takeHeld(_ index: Int, upTo bytes: Int) -> [UInt8] {
        guard slots.indices.contains(index), let held = slots[index].held else { return [] }
        let count = min(max(bytes, 0), held.count)
        let piece = [UInt8](held.bytes.prefix(count))
        held.consume(count)
        heldBytes -= count
        return piece
    }

    fileprivate func heldCopy(_ index: Int) -> [UInt8] {
        guard slots.indices.contains(index), let held = slots[index].held else { return [] }
        return [UInt8](held.bytes)
    }

    fileprivate mutating func replaceHeld(_ index: Int, first count: Int, with bytes: [UInt8], pool: BlockPool) {
        guard slots.indices.contains(index) else { return }
        let rest = slots[index].held.map { [UInt8]($0.bytes.dropFirst(max(count, 0))) } ?? []
        discard(index)
        guard !bytes.isEmpty || !rest.isEmpty else { return }
        let buffer = ByteBuffer(pool: pool)
        bytes.withUnsafeBytes { buffer.append($0) }
        rest.withUnsafeBytes { buffer.append($0) }
        slots[index].held = buffer
        heldBytes += buffer.count
    }

    fileprivate func holds(_ index: Int) -> Bool { slots[index].held?.isEmpty == false }

    fileprivate mutating func hold(_ index: Int, _ chunk: BodyChunk, isEnd: Bool, pool: BlockPool) {
        if isEnd { slots[index].holdsEnd = true }
        guard !chunk.isEmpty else { return }
        let buffer = slots[index].held ?? ByteBuffer(pool: pool)
        chunk.withBytes { buffer.append($0) }
        slots[index].held = buffer
        heldBytes += chunk.count
    }

    fileprivate mutating func replaceHeld(_ index: Int, _ bytes: [UInt8], pool: BlockPool) {
        discard(index)
        bytes.withUnsafeBytes { hold(index, BodyChunk($0), isEnd: false, pool: pool) }
    }

    fileprivate mutating func keep(_ trailers: borrowing HeaderTable) {
        if !trailers.isEmpty { self.trailers = copy trailers }
    }

    fileprivate mutating func takeTrailers() -> HeaderTable? {
        defer { trailers = nil }
        return trailers
    }
}
