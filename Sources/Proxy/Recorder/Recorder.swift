internal import HTTP
internal import IO
internal import Upstream

/// A bounded sample of the requests of one loop.
///
/// A request that is not in the sample costs a decrement.
final class Recorder {
    /// What the command line says.
    struct Settings: Sendable {
        /// One request in so many; 0 is none.
        var interval: UInt32 = 100
        /// Most requests that are kept in the whole process.
        var size = 10_000
        /// The process' own, so that all loops hash alike.
        var key: [UInt8] = []
        /// Who gets what is recorded, besides `/recorder`.
        var export: RecorderExport?
    }

    private var interval: UInt32 = 0
    private var countdown: UInt32 = 0
    private var capacity = 0
    private var bytesMax = 0
    private var text = RecordedText(key: [])
    private var export: RecorderExport?
    private var row = 0

    private var ring: [RecordedRequest] = []
    /// Where the oldest is, when the ring is full.
    private var head = 0
    private(set) var bytes = 0

    /// Begins anew; the size is shared among the loops.
    func configure(_ settings: Settings, loops: Int, row: Int) {
        interval = settings.size > 0 ? settings.interval : 0
        countdown = interval
        capacity = max(settings.size / max(loops, 1), 1)
        bytesMax = Limits.recorderBytes / max(loops, 1)
        text = RecordedText(key: settings.key)
        export = settings.export
        self.row = row
        ring = []
        head = 0
        bytes = 0
    }

    /// Whether the next request is in the sample.
    @inline(__always)
    func takes() -> Bool {
        guard countdown > 0 else { return false }
        countdown &-= 1
        guard countdown == 0 else { return false }
        countdown = interval
        return true
    }

    /// A request as it came.
    func question(_ stream: HTTPStream) -> RecordedRequest.Question {
        var headers: [(name: String, value: String)] = []
        for name in stream.manager.recordedHeaders {
            var start = 0
            let wanted = name.bytes.span.bytes
            while headers.count < Limits.recordedHeaders,
                let index = stream.request.headers.index(named: wanted, from: start)
            {
                let value = stream.request.headers.valueText(at: index)
                headers.append((name.description, text.value(value, of: name.description)))
                start = index + 1
            }
        }
        return RecordedRequest.Question(stream, headers: headers, text)
    }

    /// A request of the sample has ended.
    func add(_ question: RecordedRequest.Question, _ stream: HTTPStream) {
        let record = RecordedRequest(question, stream)
        export?.send(record, row: row)
        bytes += record.bytes
        if ring.count < capacity {
            ring.append(record)
        } else {
            bytes -= ring[head].bytes
            ring[head] = record
            head = (head + 1) % ring.count
        }
        // Few large ones in place of many small ones: the oldest go.
        if bytes > bytesMax { shrink() }
    }

    private func shrink() {
        var kept = records
        while bytes > bytesMax / 2, !kept.isEmpty { bytes -= kept.removeFirst().bytes }
        ring = kept
        head = 0
    }

    /// What is kept, the oldest first.
    var records: [RecordedRequest] {
        guard ring.count == capacity else { return ring }
        return Array(ring[head...] + ring[..<head])
    }
}

extension HTTPStream {
    /// Keeps what the request is before anything changes it.
    func beginRecording() { recording = worker.recorder.question(self) }

    func endRecording() {
        guard let recording else { return }
        self.recording = nil
        worker.recorder.add(recording, self)
    }
}
