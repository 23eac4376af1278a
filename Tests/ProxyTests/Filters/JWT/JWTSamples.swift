/// Tokens and the keys they are signed with; the private keys exist no more.
enum JWTSamples {
    static let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldC1zZWNyZXQtMDE"

    static let keys = [
        #"{"kty":"RSA","n":"hjZuecwgoxCQJdu1RMj9lXfRdDBmHwyDy0cspvr_T-_Zleza0OILXOOm8OfCXpSxT5LfbFhbmvMgdDrze5"#
            + #"AkNkrf9KSkjv1HFUm7QDcz_ROc0uZZTvTrPSEaiAdK-Dv106Jbs19MInv-ftQknpDOrhKwgOuVT42R1sgnwrBvE0h7OH11Y-eyJj"#
            + #"PN3XeWMgxocVVmxKl3NMhf6KLxadgH1pgjY-AXAclVWXZfmChHaempwDqHTQ6d9absYvEhB74bANrIz88pMy0dUM3d8OnGd36Ecz"#
            + #"wjME7ei_IZWLaNYTNIbV6W8kkJe7Rr5HynAawlQAot7jblC61cpIpO9RZ1Kw","e":"AQAB","kid":"rsa"}"#,
        #"{"kty":"EC","crv":"P-256","x":"Q8Hk0jVpx4BAw35B4Sdt-LZh9j-fQgTsBoHI6y5REXc","y":"KGAN7Va4sp4cWJZsNF-"#
            + #"eFym_dPVMjIpeLDxBA_65s-w","kid":"ES256"}"#,
        #"{"kty":"EC","crv":"P-384","x":"8Qcpe3eFbsu_fJdv9j2S-vo9YWMZUQif0oFTRFu0YGwenqHCFhilA0UFPpKassfI","y""#
            + #":"wIxgDivQNh69d0kKy8DkkV2qGXj0yyohx-vjNA2I3eb9trSu4CO9CPkWBlX0Hazv","kid":"ES384"}"#,
        #"{"kty":"EC","crv":"P-521","x":"ARUEiehJpk88yMv3OqzzLpvxWicvehBQcb2uLrx11s6pilr4Op9K6_mggp-njPEmR_-mj"#
            + #"vpZPduQRK65yOCv2nfD","y":"AL93AjTSmOddOMfbpk2n0j_-2L41d9fG9-5DmvtdsJQWVIg3eWTTgX5v4guCBl0QjGmDLw1rPO"#
            + #"Lo5-GmWyhF_Do8","kid":"ES512"}"#,
        #"{"x":"mCeKJxjz9ypcnzoyCiW3SBIncw5hwgqvfw3TjyYA_vY","kty":"OKP","crv":"Ed25519","kid":"ed"}"#,
        #"{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldC1zZWNyZX"#
            + #"QtMDE","kid":"oct"}"#,
    ]

    /// A token for each algorithm.
    static let tokens = [
        (
            "RS256",
            "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjo"
                + "iamFzb24iLCJhdWQiOlsiYm9va3MiXSwiZXhwIjo0MTAyNDQ0ODAwfQ.AJ3uI3oZBLwxcfIlskbOk8_Xv464YsaxI0hzmzsyvQId"
                + "zcAEFaUaZxZZVBC_4HJxRmrV0w39Jv6YIBPI6YmsQ2uktw7u47hNmKFxmIE9mrlOZ80QXUvTtYMqxVsp9A4L4AkusS0KotFEYU21"
                + "Rnf92YunWPIiw81yW1IdemJTeZERLqXZtdb1U4SD7sL18o64SFlDAdD1wQ3V1fXArQobUoAAMtYTrRRdE_cf_5q92_rVT9h8Iuv2"
                + "v6PPk0nMmsL5ZiGnmBycTWbfHooEUlTIa29NOSDOyzaFxqPs8qKB5JfFlXLaL3AvzhNWHw40b6EEQt-2iHXdkSBacBzpsfx95g"
        ),
        (
            "RS384",
            "eyJhbGciOiJSUzM4NCIsImtpZCI6InJzYSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjo"
                + "iamFzb24iLCJhdWQiOlsiYm9va3MiXSwiZXhwIjo0MTAyNDQ0ODAwfQ.JlWdsUWjhHiIehh7bZl9xUlhsFOeig8_EPYlJ3K3ssKn"
                + "yfOZpB2nc9z1bPcpkKgM5quMIOF0psj6iejmpV2hDQWG1W6__6-3_rGK7SgmHgBDmO4YHcbe-FB3wKizI5Zwuyg7_KUCmB5vPMDK"
                + "TK-QnCZE9YCv2F1xq6qE-B5AttOGi4xqmK3c30e6WGLTJZ1BF3Qm53fAZwyQESX1VGq-i9Se6rtpGAWSr4UtFAbbUU5eyQfUjCID"
                + "SToMpUyTn3ilTjPqP13M74W7PYGraM7y99M2nmn7Hre838Akj0ymcjluxTJGki3BuhgfOlQgENTkKpSO_jpnbAQC3gF2-zgCsg"
        ),
        (
            "RS512",
            "eyJhbGciOiJSUzUxMiIsImtpZCI6InJzYSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjo"
                + "iamFzb24iLCJhdWQiOlsiYm9va3MiXSwiZXhwIjo0MTAyNDQ0ODAwfQ.amAyjQYL41Jfm7dhsyNYNh06ob8Ccoc6n-jFRqQ7AKiL"
                + "tIZNHi96OJWhtN3i14SwEoXOoiLrnYIuJk4gUVzDid8Wq_EkVLpwBJXt-NMZrYfX5mZtgl8anm8GF4jJ66xjqxfG6PXsBN_j9WzP"
                + "prmX1iq2CvpKIS_ao3gFPqW4B4BUjtbhfXQWZbE0wIm9FVahbPOnZZ7gF7iIgjsd_GdP0NAGy2N4o1R5Se1VHyFLzwCinsWEKoQj"
                + "1bkuvtMeWlKoN42cJUYwMZfEmdSJqsmZ15gp39Xrapb04QYEaM1J999W4CKTp0HCmyfQMOH2F9dBXyGw9Hsc74vKTTF-WFp-Cw"
        ),
        (
            "PS256",
            "eyJhbGciOiJQUzI1NiIsImtpZCI6InJzYSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjo"
                + "iamFzb24iLCJhdWQiOlsiYm9va3MiXSwiZXhwIjo0MTAyNDQ0ODAwfQ.P_VwYNgK54bESEOKZ4xmkBANu_b41g-XYwuGq5TOJe0H"
                + "snzvNkci-bHkl1xP5U6kSTmwHrFc61XjkN35KzTbEjVeKj5j8HI9MD_SbrqIQGxj1eP746zc8veFQt4aolX5CO3zt1YWdSuFthVb"
                + "lioY6nsjELJgWi3NWkBkMyqRVyldsEEJDcGzyUzBbrdF0ju7EOq2kXRXBSA4EfThFK7A7zSMfZLQoU4sBSa7mhtSapxe_iahxZTn"
                + "zVFNCHh5Grlg3NnllpE_TY5g8zUEaloXlIvRqvs9KbYn-dHxDA5VnLxwIdJkYGPJ-sNOnIiMv9ln9Gj6PZl9JQvas7e5SzjxsA"
        ),
        (
            "PS384",
            "eyJhbGciOiJQUzM4NCIsImtpZCI6InJzYSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjo"
                + "iamFzb24iLCJhdWQiOlsiYm9va3MiXSwiZXhwIjo0MTAyNDQ0ODAwfQ.CHsEUtvMJJKZk_NCFDw-1Ti2C_1SffYthi4OHHjGShUk"
                + "3o8kRXSE6U6gmdQ3BSflBH9UjsC1aJmhCQ5FfIGsdYFFL2YsHtGCv3i_ehtQFeGbRIepG5RRuR5lHRBPtNM3G-AgdmItMuc6heaR"
                + "zvACqe8Ccc9gie8Wip_lyYQos2XY8QhBOmSAKD6VickaJfzUAoNLBEVIl5Bt3-ADsUqummbx-1LyCRrHs01SSc_jtfCmAQ1DbTwZ"
                + "BzR2ay98N6SWLTW9uwk4S3BE29uZENfik-fgcl3BmA5VsuTKJwWPyxxZ2Zmceg5eEG5H-8cDWYYdeN5n0MLfSjjV6i8jyDFhyw"
        ),
        (
            "PS512",
            "eyJhbGciOiJQUzUxMiIsImtpZCI6InJzYSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjo"
                + "iamFzb24iLCJhdWQiOlsiYm9va3MiXSwiZXhwIjo0MTAyNDQ0ODAwfQ.cDHx_Y3HWvNbgFwFqTFKHJFxZ67r2Jve8ZWYvzIrmi7P"
                + "4wZ5e7iers1DfZkZFWe05e9MZUBoQicHmshTAvEWWHVoKdNxoOxEdwADYEOfetxsQhVxp0Q2-ElFJZ-L9BjVJafzySpip6UYYOUf"
                + "3nNpTkT4KtaY7YIZyegnGfJQTq5LdyI2MFdstc7CMCNThgq8ntollMJc4A3hF3mWtkKZ1CMNJqqMmoX9MbdC-9uzPOwZUO5kbQ76"
                + "Tqfy8APFE8Tf34hstvLRYJexq7BslKf-wC0RnO-AgQfFpI_t1_T-T3IMWciBduakixdJJue8d_-hg0P_o1XAFwmTU7PwWnhKqQ"
        ),
        (
            "ES256",
            "eyJhbGciOiJFUzI1NiIsImtpZCI6IkVTMjU2IiwidHlwIjoiSldUIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3Vi"
                + "IjoiamFzb24iLCJhdWQiOlsiYm9va3MiXSwiZXhwIjo0MTAyNDQ0ODAwfQ.xNUbzbL-7JdtEO_V1v9c8EDrKA1szuOnp7pqJqcbL"
                + "5mxgY-P2isUBaCjvXXs_7xucyZl80CLbLuiMmg8-LAejw"
        ),
        (
            "ES384",
            "eyJhbGciOiJFUzM4NCIsImtpZCI6IkVTMzg0IiwidHlwIjoiSldUIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3Vi"
                + "IjoiamFzb24iLCJhdWQiOlsiYm9va3MiXSwiZXhwIjo0MTAyNDQ0ODAwfQ.10SWD8jX6RYGtzX7yYfaFp74tAqcvBBnXyms6-BAf"
                + "jBJt9CijxeVAIUFRHyIrsDb9ELkjyopWDh5C5LpzzfIPYrsRvuvkomFFhT4y6x2JPbcSpzCCyRgm4YtMZ8RBV2v"
        ),
        (
            "ES512",
            "eyJhbGciOiJFUzUxMiIsImtpZCI6IkVTNTEyIiwidHlwIjoiSldUIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3Vi"
                + "IjoiamFzb24iLCJhdWQiOlsiYm9va3MiXSwiZXhwIjo0MTAyNDQ0ODAwfQ.AWYDen7ELE4fzPID9agbkoTgg26dyOdUM2XIG9_ed"
                + "yoe-R73DCMSGu_wU-lW7BzxjgBv41tk2QGxWmVImyywBs6NAA5G0qJ5NCMlQ5XUljjmGnMZuBICSEugkgYdGQpP1deQOPf_y4yDE"
                + "X7meyElOzu3RsNTjjcTCydvQXeUt1k8qFan"
        ),
        (
            "EdDSA",
            "eyJhbGciOiJFZERTQSIsImtpZCI6ImVkIiwidHlwIjoiSldUIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjoi"
                + "amFzb24iLCJhdWQiOlsiYm9va3MiXSwiZXhwIjo0MTAyNDQ0ODAwfQ.uG2Yvk3cE_BZ2Kd8dbJUcDxLpLWjBBwbGwamLQaiLVQW4"
                + "ho0L3x0uWn1QxXv3VfR0cKi5i-ubjwgVOPja37fBg"
        ),
        (
            "HS256",
            "eyJhbGciOiJIUzI1NiIsImtpZCI6Im9jdCIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjo"
                + "iamFzb24iLCJhdWQiOlsiYm9va3MiXSwiZXhwIjo0MTAyNDQ0ODAwfQ.9D_G3g2AQImw_PkESz9IFLQrQ-ROPaxEtkBAygG6b7M"
        ),
        (
            "HS384",
            "eyJhbGciOiJIUzM4NCIsImtpZCI6Im9jdCIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjo"
                + "iamFzb24iLCJhdWQiOlsiYm9va3MiXSwiZXhwIjo0MTAyNDQ0ODAwfQ.H2xdkDXP9uJEzrZYcSvbCdAtIr0BEncuc0jqFJiWVCj9"
                + "N35NS_rxlkQbio3Vs5g4"
        ),
        (
            "HS512",
            "eyJhbGciOiJIUzUxMiIsImtpZCI6Im9jdCIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwic3ViIjo"
                + "iamFzb24iLCJhdWQiOlsiYm9va3MiXSwiZXhwIjo0MTAyNDQ0ODAwfQ.7FIZeio3Umb5__FG3CtcBsnmy3G3BRsN8Dko9jw02Dv5"
                + "03BcPmckL4mSd2ijs5nkDeCPszP57dNhF2gv4huzyA"
        ),
    ]

    static let keySet = "{\"keys\":[" + keys.joined(separator: ",") + "]}"
}
