internal import HTTP
internal import Lua

// Heads and trailers, as scripts see them.
extension LuaRun {
    func headers(_ operation: LuaOperation, _ arguments: [LuaValue], _ stream: HTTPStream) -> LuaAnswer {
        let isTrailers = arguments.first?.number == 1
        let name = arguments.count > 1 ? arguments[1].string?.lowercased() ?? "" : ""
        switch operation {
        case .getHeader:
            let all = values(name, isTrailers, stream)
            return .values([all.isEmpty ? .none : .text(Array(all.joined(separator: [UInt8(ascii: ",")])))])
        case .headerAt:
            let all = values(name, isTrailers, stream)
            let index = arguments.count > 2 ? arguments[2].number ?? -1 : -1
            guard index >= 0, index < Double(all.count) else { return .values([.none]) }
            return .values([.text(all[Int(index)])])
        case .headerCount: return .values([.number(Double(values(name, isTrailers, stream).count))])
        case .allHeaders: return .values([.list(all(isTrailers, stream))])
        default: break
        }
        guard isTrailers || !headHasPassed else { return .failure("header map can no longer be modified") }
        if operation == .reasonPhrase {
            // The reason is never sent over HTTP/2, and over HTTP/1.1 it follows from the status.
            return .failure("setHttp1ReasonPhrase is not supported")
        }
        let value = arguments.count > 2 ? arguments[2].bytes ?? [] : []
        let failure =
            isTrailers ? changeTrailers(operation, name, value, stream) : changeHead(operation, name, value, stream)
        if let failure { return .failure(failure) }
        if isRequest && !isTrailers && config.clearsRoute { stream.clearRoute() }
        return .values([])
    }

    private func values(_ name: String, _ isTrailers: Bool, _ stream: HTTPStream) -> [[UInt8]] {
        if !isTrailers, name.hasPrefix(":") || (isRequest && name == "host") {
            return pseudo(name, stream).map { [$0] } ?? []
        }
        let table = table(isTrailers, stream)
        let bytes = Array(name.utf8)
        var found: [[UInt8]] = []
        var start = 0
        while let index = table.index(named: bytes.span.bytes, from: start) {
            found.append([UInt8](copying: table.value(at: index)))
            start = index + 1
        }
        return found
    }

    private func pseudo(_ name: String, _ stream: HTTPStream) -> [UInt8]? {
        if !isRequest { return name == ":status" ? Array(String(stream.response.status).utf8) : nil }
        let value: [UInt8]
        switch name {
        case ":path": value = stream.request.pathBytes
        case ":method": value = stream.request.methodBytes
        case ":authority", "host": value = stream.request.authorityBytes
        case ":scheme":
            let request = stream.request
            value = [UInt8](copying: request.scheme)
        default: return nil
        }
        return value.isEmpty ? nil : value
    }

    private func table(_ isTrailers: Bool, _ stream: HTTPStream) -> HeaderTable {
        if isTrailers {
            return (isRequest ? stream.requestFilters.trailers : stream.responseFilters.trailers) ?? HeaderTable()
        }
        return isRequest ? stream.request.headers : stream.response.headers
    }

    private func all(_ isTrailers: Bool, _ stream: HTTPStream) -> [LuaValue] {
        var list: [LuaValue] = []
        if !isTrailers {
            for name in isRequest ? [":authority", ":path", ":method", ":scheme"] : [":status"] {
                if let value = pseudo(name, stream) { list += [.string(name), .text(value)] }
            }
        }
        let table = table(isTrailers, stream)
        for index in 0..<table.count {
            list += [.text([UInt8](copying: table.name(at: index))), .text([UInt8](copying: table.value(at: index)))]
        }
        return list
    }

    private func changeTrailers(
        _ operation: LuaOperation, _ name: String, _ value: [UInt8], _ stream: HTTPStream
    ) -> String? {
        var table = table(true, stream)
        let failure = change(&table, operation, name, value)
        if isRequest { stream.requestFilters.trailers = table } else { stream.responseFilters.trailers = table }
        return failure
    }

    private func changeHead(
        _ operation: LuaOperation, _ name: String, _ value: [UInt8], _ stream: HTTPStream
    ) -> String? {
        if name.hasPrefix(":") || (isRequest && name == "host") {
            guard operation != .removeHeader else { return nil }
            return changePseudo(name, value, stream)
        }
        // Framing is not a script's: a wrong length would split the message.
        guard !["content-length", "transfer-encoding", "connection"].contains(name) else { return nil }
        if isRequest { return change(&stream.request.headers, operation, name, value) }
        return change(&stream.response.headers, operation, name, value)
    }

    private func change(
        _ table: inout HeaderTable, _ operation: LuaOperation, _ name: String, _ value: [UInt8]
    ) -> String? {
        let name = Array(name.utf8)
        if operation != .addHeader { table.remove(named: name.span.bytes) }
        guard operation != .removeHeader else { return nil }
        do throws(HTTPFieldError) {
            try table.append(name.span.bytes, value.span.bytes)
            return nil
        } catch {
            return "\(error)"
        }
    }

    private func changePseudo(_ name: String, _ value: [UInt8], _ stream: HTTPStream) -> String? {
        do throws(HTTPFieldError) {
            switch (name, isRequest) {
            case (":status", false):
                guard let status = UInt16(String(decoding: value, as: UTF8.self)), (200..<600).contains(status) else {
                    return ":status must be between 200-599"
                }
                stream.response.status = status
            case (":path", true): try stream.request.setPath(value.span.bytes)
            case (":method", true): try stream.request.setMethod(token: value.span.bytes)
            case (":authority", true), ("host", true): try stream.request.setAuthority(value.span.bytes)
            case (":scheme", true): stream.request.setScheme(value == Array("https".utf8) ? "https" : "http")
            default: return "\(name) is not known here"
            }
            return nil
        } catch {
            return "\(error)"
        }
    }
}
