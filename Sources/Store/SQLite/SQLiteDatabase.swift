internal import CSQLite

/// One open SQLite file: the only place that talks to the library.
final class SQLiteDatabase {
    let path: String
    private let handle: OpaquePointer
    private var statements: [String: OpaquePointer] = [:]

    /// A value of a statement.
    enum Value {
        case text(String)
        case blob([UInt8])
        case integer(Int64)
    }

    init(path: String, mustExist: Bool = false) throws(StoreError) {
        var handle: OpaquePointer?
        let status = sqlite3_open_v2(
            path, &handle, SQLITE_OPEN_READWRITE | (mustExist ? 0 : SQLITE_OPEN_CREATE) | SQLITE_OPEN_NOMUTEX, nil)
        guard status == SQLITE_OK, let handle else {
            let detail = handle.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
            sqlite3_close_v2(handle)
            throw StoreError.failed(path: path, detail: "cannot be opened: \(detail)")
        }
        self.path = path
        self.handle = handle
        sqlite3_extended_result_codes(handle, 1)
    }

    deinit {
        for statement in statements.values { sqlite3_finalize(statement) }
        sqlite3_close_v2(handle)
    }

    /// Runs statements that return nothing.
    func execute(_ sql: String) throws(StoreError) {
        let status = sqlite3_exec(handle, sql, nil, nil, nil)
        if status != SQLITE_OK { throw failure(status) }
    }

    /// Runs one prepared statement, calling `row` with a reader for each row.
    func run(_ sql: String, _ values: [Value] = [], row: (Row) -> Void = { _ in }) throws(StoreError) {
        let statement = try prepared(sql)
        defer {
            sqlite3_reset(statement)
            sqlite3_clear_bindings(statement)
        }
        for (index, value) in values.enumerated() {
            let position = Int32(index + 1)
            let status =
                switch value {
                case .integer(let number): sqlite3_bind_int64(statement, position, number)
                case .blob(let bytes): skein_sqlite_bind_blob(statement, position, bytes, Int32(clamping: bytes.count))
                case .text(let text): skein_sqlite_bind_text(statement, position, text, Int32(text.utf8.count))
                }
            if status != SQLITE_OK { throw failure(status) }
        }
        while true {
            let status = sqlite3_step(statement)
            if status == SQLITE_DONE { return }
            guard status == SQLITE_ROW else { throw failure(status) }
            row(Row(statement: statement))
        }
    }

    /// One row while it is read.
    struct Row {
        fileprivate let statement: OpaquePointer

        func text(_ column: Int32) -> String {
            guard let bytes = sqlite3_column_text(statement, column) else { return "" }
            let count = Int(sqlite3_column_bytes(statement, column))
            return String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
        }

        func bytes(_ column: Int32) -> [UInt8] {
            guard let bytes = sqlite3_column_blob(statement, column) else { return [] }
            let count = Int(sqlite3_column_bytes(statement, column))
            return Array(UnsafeRawBufferPointer(start: bytes, count: count))
        }

        func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(statement, column) }
    }

    private func prepared(_ sql: String) throws(StoreError) -> OpaquePointer {
        if let known = statements[sql] { return known }
        var statement: OpaquePointer?
        let status = sqlite3_prepare_v2(handle, sql, -1, &statement, nil)
        guard status == SQLITE_OK, let statement else { throw failure(status) }
        statements[sql] = statement
        return statement
    }

    private func failure(_ status: Int32) -> StoreError {
        let detail = String(cString: sqlite3_errmsg(handle))
        switch status & 0xff {
        case SQLITE_FULL: return .diskFull(path: path)
        case SQLITE_IOERR where sqlite3_system_errno(handle) == 28 || sqlite3_system_errno(handle) == 122:
            return .diskFull(path: path)  // ENOSPC, EDQUOT
        case SQLITE_CORRUPT, SQLITE_NOTADB: return .corrupted(path: path, detail: detail)
        case SQLITE_BUSY, SQLITE_LOCKED: return .inUse(path: path)
        default: return .failed(path: path, detail: detail)
        }
    }
}
