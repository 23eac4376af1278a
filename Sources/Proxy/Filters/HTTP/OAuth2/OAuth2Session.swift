internal import HTTP
internal import Upstream

/// The tokens of a user, and how long they last.
///
/// Pure.
struct OAuth2Session {
    var access: String
    var id: String
    var refresh: String
    let expires: String
    let expiresIn: Int64
    let idExpiresIn: Int64
    let refreshExpiresIn: Int64

    /// - Parameter now: Seconds since 1970.
    init(
        access: String, id: String, refresh: String, expiresIn: Int64, _ settings: OAuth2Settings, now: Int64
    ) {
        func left(_ token: String) -> Int64? { OAuth2Tokens.expiry(of: token).map { max($0 - now, 0) } }
        self.expiresIn = expiresIn
        let (end, isTooLong) = now.addingReportingOverflow(expiresIn)
        expires = String(isTooLong ? Int64.max : end)
        idExpiresIn = settings.idTokenLastsAsAccess ? expiresIn : left(id) ?? expiresIn
        refreshExpiresIn = settings.usesRefreshToken ? left(refresh) ?? settings.refreshExpiresIn : expiresIn
        self.access = settings.keepsAccessToken ? access : ""
        self.id = settings.keepsIDToken ? id : ""
        self.refresh = settings.usesRefreshToken && settings.keepsRefreshToken ? refresh : ""
    }

    /// The cookies that an answer sets, and those that it takes away.
    func cookies(
        _ settings: OAuth2Settings, _ secret: [UInt8], domain: String, had: RequestCookies
    ) -> [(String, String)] {
        let code = OAuth2Tokens.sessionCode(
            secret: secret, domain: domain, expires: expires, access: access, id: id, refresh: refresh)
        var headers = [
            settings.setting(settings.hmac, code, seconds: expiresIn),
            settings.setting(settings.expires, expires, seconds: expiresIn),
        ]
        for (cookie, token, seconds) in [
            (settings.access, access, expiresIn), (settings.id, id, idExpiresIn),
            (settings.refresh, refresh, refreshExpiresIn),
        ] {
            if !token.isEmpty {
                let value = settings.encrypts ? settings.ciphers.encrypt(token, secret: secret) : token
                if let value { headers.append(settings.setting(cookie, value, seconds: seconds)) }
            } else if had[cookie.name] != nil {
                headers.append(settings.deleting(cookie.name, path: cookie.path))
            }
        }
        return headers
    }
}
