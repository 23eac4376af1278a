/// One entry of a tar archive.
struct TarEntry: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        case file, directory, symbolicLink, hardLink, fifo, device
    }

    var path: String
    var kind: Kind
    /// Bytes of content; not zero for files only.
    var size = 0
    /// Permission bits.
    var mode: UInt32 = 0o644
    var uid: UInt32 = 0
    var gid: UInt32 = 0
    /// What a link says.
    var target = ""
}

/// Reads tar archives: ustar, GNU long names, pax headers (POSIX.1-2001).
///
/// Strict about sizes and checksums.
struct TarReader {
    /// Entries of one archive: the largest images have some hundred thousand.
    static let entriesMax = 2_000_000
    /// Bytes of a name or of a pax header.
    static let nameBytesMax = 1 << 20

    private let source: any ByteSource
    /// Bytes of the current entry's content and padding that have not been read.
    private var content = 0
    private var padding = 0
    private var entries = 0
    /// Where the next unread byte is, from the archive's beginning.
    private(set) var position = 0

    init(_ source: any ByteSource) { self.source = source }

    private static func failure(_ problem: String) -> WorkloadError {
        WorkloadError("ImportFailed", "image archive: \(problem)")
    }

    /// The next entry; nil at the end.
    ///
    /// Content that was not read is passed over.
    mutating func next() throws(WorkloadError) -> TarEntry? {
        var path: String?
        var target: String?
        var size: Int?
        while true {
            try skip(content + padding)
            (content, padding) = (0, 0)
            let header = try take(512, mayEnd: true)
            // Two blocks of zeros end an archive; so does the end of the file.
            guard !header.isEmpty, header.contains(where: { $0 != 0 }) else { return nil }
            try TarReader.checkSum(header)
            entries += 1
            guard entries <= TarReader.entriesMax else {
                throw TarReader.failure("more than \(TarReader.entriesMax) entries")
            }
            guard let length = TarReader.number(header[124..<136]) else {
                throw TarReader.failure("an entry with a damaged size")
            }
            let flag = header[156]
            switch flag {
            case UInt8(ascii: "L"): path = TarReader.text(try block(length)[...])
            case UInt8(ascii: "K"): target = TarReader.text(try block(length)[...])
            case UInt8(ascii: "x"):
                let records = try TarReader.records(try block(length))
                path = records["path"] ?? path
                target = records["linkpath"] ?? target
                size = records["size"].flatMap { Int($0) } ?? size
            case UInt8(ascii: "g"): _ = try block(length)  // Defaults for all entries: nothing in there that we use.
            default:
                var entry = try TarReader.entry(header, flag)
                entry.path = path ?? entry.path
                entry.target = target ?? entry.target
                if entry.kind == .file { entry.size = size ?? length }
                guard entry.size >= 0, entry.size <= 1 << 46 else {
                    throw TarReader.failure("\(entry.path): impossible size")
                }
                // Other kinds have no content, whatever their size field says (POSIX), but hard links of old writers.
                content = entry.size
                padding = (512 - entry.size % 512) % 512
                return entry
            }
        }
    }

    /// The next piece of the current entry's content; empty at its end.
    mutating func read(upTo count: Int) throws(WorkloadError) -> [UInt8] {
        guard content > 0 else { return [] }
        let bytes = try source.read(upTo: min(count, content))
        guard !bytes.isEmpty else { throw TarReader.failure("cut short") }
        content -= bytes.count
        position += bytes.count
        return bytes
    }

    private mutating func skip(_ count: Int) throws(WorkloadError) {
        var rest = count
        while rest > 0 {
            let bytes = try source.read(upTo: min(rest, 256 << 10))
            guard !bytes.isEmpty else { throw TarReader.failure("cut short") }
            rest -= bytes.count
            position += bytes.count
        }
    }

    private mutating func take(_ count: Int, mayEnd: Bool = false) throws(WorkloadError) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let piece = try source.read(upTo: count - bytes.count)
            if piece.isEmpty {
                guard mayEnd, bytes.isEmpty else { throw TarReader.failure("cut short") }
                return []
            }
            bytes += piece
        }
        position += count
        return bytes
    }

    private mutating func block(_ length: Int) throws(WorkloadError) -> [UInt8] {
        guard (0...TarReader.nameBytesMax).contains(length) else {
            throw TarReader.failure("an extended header that is too long")
        }
        let bytes = try take(length)
        try skip((512 - length % 512) % 512)
        return bytes
    }

    private static func entry(_ header: [UInt8], _ flag: UInt8) throws(WorkloadError) -> TarEntry {
        var path = text(header[0..<100])
        let isUSTAR = header[257..<262].elementsEqual("ustar".utf8)
        // GNU's magic ends in a blank; its prefix field holds other things.
        if isUSTAR, header[262] == 0 {
            let prefix = text(header[345..<500])
            if !prefix.isEmpty { path = prefix + "/" + path }
        }
        let kind: TarEntry.Kind
        switch flag {
        case 0, UInt8(ascii: "0"), UInt8(ascii: "7"): kind = path.hasSuffix("/") ? .directory : .file
        case UInt8(ascii: "1"): kind = .hardLink
        case UInt8(ascii: "2"): kind = .symbolicLink
        case UInt8(ascii: "3"), UInt8(ascii: "4"): kind = .device
        case UInt8(ascii: "5"): kind = .directory
        case UInt8(ascii: "6"): kind = .fifo
        default: throw failure("\(path): an entry of unknown kind \(flag)")
        }
        guard let mode = number(header[100..<108]), let uid = number(header[108..<116]),
            let gid = number(header[116..<124])
        else {
            throw failure("\(path): a damaged header")
        }
        var entry = TarEntry(path: path, kind: kind)
        entry.mode = UInt32(truncatingIfNeeded: mode & 0o7777)
        entry.uid = UInt32(clamping: uid)
        entry.gid = UInt32(clamping: gid)
        entry.target = text(header[157..<257])
        return entry
    }

    /// The sum of the header's bytes with the sum's own field as blanks.
    private static func checkSum(_ header: [UInt8]) throws(WorkloadError) {
        var sum = 0
        for (index, byte) in header.enumerated() { sum += (148..<156).contains(index) ? 0x20 : Int(byte) }
        guard number(header[148..<156]) == sum else { throw failure("not a tar archive, or damaged") }
    }

    private static func text(_ field: ArraySlice<UInt8>) -> String {
        String(decoding: field.prefix { $0 != 0 }, as: UTF8.self)
    }

    /// Octal digits, or GNU's binary form (first bit set).
    static func number(_ field: ArraySlice<UInt8>) -> Int? {
        guard let first = field.first else { return nil }
        if first & 0x80 != 0 {
            var value = Int(first & 0x3F)
            guard first & 0x40 == 0 else { return nil }  // Negative.
            for byte in field.dropFirst() {
                let (product, overflow) = value.multipliedReportingOverflow(by: 256)
                guard !overflow, product <= Int.max - 255 else { return nil }
                value = product + Int(byte)
            }
            return value
        }
        var value = 0
        for byte in field.drop(while: { $0 == 0x20 }) {
            guard byte != 0, byte != 0x20 else { break }
            guard (0x30...0x37).contains(byte), value < 1 << 56 else { return nil }
            value = value << 3 | Int(byte - 0x30)
        }
        return value
    }

    /// `LENGTH KEY=VALUE\n` records of a pax header.
    private static func records(_ bytes: [UInt8]) throws(WorkloadError) -> [String: String] {
        var records: [String: String] = [:]
        var rest = bytes[...]
        while let first = rest.first, first != 0 {
            guard let blank = rest.firstIndex(of: 0x20),
                let length = Int(String(decoding: rest[..<blank], as: UTF8.self)),
                length > blank - rest.startIndex + 1, length <= rest.count
            else { throw failure("a damaged pax header") }
            let record = rest[(blank + 1)..<(rest.startIndex + length)]
            guard let equals = record.firstIndex(of: 0x3D), record.last == 0x0A else {
                throw failure("a damaged pax header")
            }
            let key = String(decoding: record[..<equals], as: UTF8.self)
            records[key] = String(decoding: record[(equals + 1)...].dropLast(), as: UTF8.self)
            rest = rest.dropFirst(length)
        }
        return records
    }
}
