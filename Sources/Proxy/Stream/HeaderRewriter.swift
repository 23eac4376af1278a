internal import HTTP
internal import IO
internal import Upstream

/// Applies configured header changes, rendering the command operators in their values.
struct HeaderRewriter<Context: FormatContext> {
    private let context: Context
    private let worker: Worker

    init(context: Context, worker: Worker) {
        self.context = context
        self.worker = worker
    }

    func apply(_ mutations: [HeaderMutation], to headers: inout HeaderTable) {
        for mutation in mutations {
            let name = mutation.name.bytes.span.bytes
            switch mutation.operation {
            case .remove: headers.remove(named: name)
            case .append(let template):
                append(mutation, template, &headers)
            case .addIfAbsent(let template):
                if headers.index(named: name) == nil { append(mutation, template, &headers) }
            case .overwriteOrAdd(let template):
                let value = render(template)
                headers.remove(named: name)
                append(mutation, value, &headers)
            case .overwriteIfPresent(let template):
                guard headers.index(named: name) != nil else { continue }
                let value = render(template)
                headers.remove(named: name)
                append(mutation, value, &headers)
            }
        }
    }

    private func append(_ mutation: HeaderMutation, _ template: HeaderTemplate, _ headers: inout HeaderTable) {
        append(mutation, render(template), &headers)
    }

    private func append(_ mutation: HeaderMutation, _ value: [UInt8], _ headers: inout HeaderTable) {
        guard !value.isEmpty || mutation.keepsEmptyValue else { return }
        // A rendered value with a control byte (from a peer's header it cannot come) is left out rather than sent.
        try? headers.append(mutation.name.bytes.span.bytes, value.span.bytes)
    }

    /// The value with its operators filled in.
    func render(_ template: HeaderTemplate) -> [UInt8] {
        if let literal = template.literal { return literal }
        var bytes = FormatLine(capacity: 128)
        for segment in template.segments {
            switch segment {
            case .literal(let literal): bytes.append(literal)
            case .command(let name, let argument, let lengthMax):
                let start = bytes.count
                guard let operation = worker.formatOperator(name, argument),
                    operation.append(context, FormatMoment(now: worker.loop.now), to: &bytes)
                else { continue }
                let limit = min(lengthMax ?? .max, Limits.formatValueBytes)
                if bytes.count - start > limit { bytes.cut(to: start + limit) }
            }
        }
        return bytes.bytes
    }
}

extension HeaderRewriter where Context == HTTPStream {
    init(stream: HTTPStream) { self.init(context: stream, worker: stream.worker) }
}
