//! Secrets of providers in set 1: what each begins with, and of which characters it consists.
//!
//! The table is data that later releases keep: a changed row needs a new set.

use Class::{Alnum, B64, B64Url, B64Word, Digit, Escaped, Hex, Lower, Upper, Word};
use Part::{Lit, Run};

/// Characters of a part. ASCII only.
#[derive(Clone, Copy)]
pub(super) enum Class {
    Digit,
    /// `0-9a-fA-F`
    Hex,
    /// `0-9a-z`
    Lower,
    /// `0-9A-Z`
    Upper,
    Alnum,
    /// `0-9A-Za-z_`
    Word,
    /// `0-9A-Za-z_-`
    B64Url,
    /// `0-9A-Za-z+/=`
    B64,
    /// The same with `_`.
    B64Word,
    /// The same with `%`: as it is in a URL.
    Escaped,
}

impl Class {
    pub(super) const fn has(self, byte: u8) -> bool {
        match self {
            Digit => byte.is_ascii_digit(),
            Hex => byte.is_ascii_hexdigit(),
            Lower => byte.is_ascii_digit() || byte.is_ascii_lowercase(),
            Upper => byte.is_ascii_digit() || byte.is_ascii_uppercase(),
            Alnum => byte.is_ascii_alphanumeric(),
            Word => byte.is_ascii_alphanumeric() || byte == b'_',
            B64Url => byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-',
            B64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='),
            B64Word => byte == b'_' || B64.has(byte),
            Escaped => byte == b'%' || B64.has(byte),
        }
    }
}

/// A part of a secret.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Lit(&'static str),
    /// Characters of a class: at least, at most.
    Run(Class, usize, usize),
}

/// What a secret begins with, and what follows.
pub(super) type Row = (&'static str, &'static [&'static str], &'static [Part]);

const UUID: &[Part] = &[
    Run(Hex, 8, 8),
    Lit("-"),
    Run(Hex, 4, 4),
    Lit("-"),
    Run(Hex, 4, 4),
    Lit("-"),
    Run(Hex, 4, 4),
    Lit("-"),
    Run(Hex, 12, 12),
];

/// Name of the detector, texts with which a secret begins, and what follows them.
pub(super) const TABLE: &[Row] = &[
    (
        "aws-access-key",
        &["AKIA", "ASIA", "ABIA", "ACCA", "AGPA", "AIDA", "AROA", "AIPA", "ANPA", "ANVA", "APKA"],
        &[Run(Upper, 16, 16)],
    ),
    ("github-token", &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], &[Run(Alnum, 36, 255)]),
    ("github-token", &["github_pat_"], &[Run(Word, 40, 255)]),
    (
        "gitlab-token",
        &[
            "glpat-",
            "gldt-",
            "glrt-",
            "glcbt-",
            "glptt-",
            "glft-",
            "glsoat-",
            "glimt-",
            "glagent-",
            "gloas-",
            "glffct-",
            "GR1348941",
        ],
        &[Run(B64Url, 20, 255)],
    ),
    (
        "slack-token",
        &["xoxb-", "xoxp-", "xoxa-", "xoxo-", "xoxr-", "xoxs-", "xoxc-", "xoxd-"],
        &[Run(B64Url, 16, 400)],
    ),
    ("slack-token", &["xapp-", "xoxe-", "xoxe.xoxp-", "xoxe.xoxb-"], &[Run(B64Url, 20, 400)]),
    (
        "slack-webhook",
        &["hooks.slack.com/services/", "hooks.slack.com/workflows/", "hooks.slack.com/triggers/"],
        &[Run(Alnum, 8, 24), Lit("/"), Run(Alnum, 8, 24), Lit("/"), Run(Alnum, 16, 64)],
    ),
    ("stripe-key", &["sk_live_", "sk_test_", "rk_live_", "rk_test_"], &[Run(Alnum, 16, 255)]),
    ("stripe-key", &["whsec_"], &[Run(B64, 24, 100)]),
    ("google-api-key", &["AIza"], &[Run(B64Url, 35, 35)]),
    ("google-oauth", &["ya29."], &[Run(B64Url, 20, 1_024)]),
    ("google-oauth", &["GOCSPX-"], &[Run(B64Url, 24, 40)]),
    ("google-oauth", &["1//0"], &[Run(B64Url, 30, 120)]),
    ("openai-key", &["sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-"], &[Run(B64Url, 20, 255)]),
    ("openai-key", &["sk-"], &[Run(Alnum, 32, 64)]),
    ("anthropic-key", &["sk-ant-"], &[Run(Lower, 3, 12), Lit("-"), Run(B64Url, 20, 255)]),
    ("openrouter-key", &["sk-or-v1-"], &[Run(Hex, 40, 64)]),
    ("twilio-key", &["SK", "AC"], &[Run(Hex, 32, 32)]),
    ("sendgrid-key", &["SG."], &[Run(B64Url, 16, 32), Lit("."), Run(B64Url, 32, 64)]),
    ("npm-token", &["npm_"], &[Run(Alnum, 36, 36)]),
    ("pypi-token", &["pypi-"], &[Run(B64Url, 50, 1_024)]),
    ("digitalocean-token", &["dop_v1_", "doo_v1_", "dor_v1_"], &[Run(Hex, 64, 64)]),
    (
        "shopify-token",
        &["shpat_", "shpca_", "shppa_", "shpss_", "shpua_", "shptka_"],
        &[Run(Hex, 32, 32)],
    ),
    ("square-token", &["sq0atp-"], &[Run(B64Url, 22, 22)]),
    ("square-token", &["sq0csp-"], &[Run(B64Url, 43, 43)]),
    ("square-token", &["EAAA"], &[Run(B64Url, 60, 60)]),
    (
        "paypal-token",
        &["access_token$production$"],
        &[Run(Lower, 16, 16), Lit("$"), Run(Hex, 32, 32)],
    ),
    ("heroku-key", &["HRKU-AA"], &[Run(B64Url, 50, 70)]),
    ("heroku-key", &["HRKU-"], UUID),
    ("databricks-token", &["dapi"], &[Run(Hex, 32, 32)]),
    ("databricks-token", &["dapi"], &[Run(Hex, 32, 32), Lit("-"), Run(Digit, 1, 2)]),
    ("newrelic-key", &["NRAK-", "NRII-"], &[Run(B64Url, 27, 32)]),
    ("atlassian-token", &["ATATT3", "ATCTT3", "ATBB"], &[Run(B64Url, 28, 400)]),
    ("atlassian-token", &["ATATT3", "ATCTT3"], &[Run(B64Url, 28, 400), Lit("="), Run(Hex, 8, 8)]),
    ("hubspot-token", &["pat-na1-", "pat-na2-", "pat-eu1-"], UUID),
    ("linear-key", &["lin_api_"], &[Run(Alnum, 32, 48)]),
    ("notion-token", &["ntn_"], &[Run(Alnum, 40, 60)]),
    ("notion-token", &["secret_"], &[Run(Alnum, 43, 43)]),
    ("figma-token", &["figd_", "figo_", "figu_"], &[Run(B64Url, 30, 60)]),
    ("airtable-token", &["pat"], &[Run(Alnum, 14, 14), Lit("."), Run(Hex, 64, 64)]),
    ("telegram-token", &["bot"], &[Run(Digit, 8, 10), Lit(":AA"), Run(B64Url, 32, 33)]),
    ("mailgun-key", &["key-"], &[Run(Hex, 32, 32)]),
    ("vault-token", &["hvs.", "hvb.", "hvr."], &[Run(B64Url, 24, 255)]),
    ("docker-token", &["dckr_pat_", "dckr_oat_"], &[Run(B64Url, 27, 40)]),
    ("huggingface-token", &["hf_"], &[Run(Alnum, 34, 40)]),
    ("replicate-token", &["r8_"], &[Run(Alnum, 37, 40)]),
    ("groq-key", &["gsk_"], &[Run(Alnum, 48, 56)]),
    ("perplexity-key", &["pplx-"], &[Run(Alnum, 48, 56)]),
    ("xai-key", &["xai-"], &[Run(Alnum, 70, 90)]),
    ("grafana-token", &["glsa_"], &[Run(Alnum, 32, 32), Lit("_"), Run(Hex, 8, 8)]),
    ("grafana-token", &["glc_eyJ"], &[Run(B64, 32, 400)]),
    ("sentry-token", &["sntrys_eyJ"], &[Run(B64Word, 32, 600)]),
    ("sentry-token", &["sntryu_"], &[Run(Hex, 64, 64)]),
    ("pulumi-token", &["pul-"], &[Run(Hex, 40, 40)]),
    ("postman-key", &["PMAK-"], &[Run(Hex, 24, 24), Lit("-"), Run(Hex, 34, 34)]),
    ("doppler-token", &["dp.pt.", "dp.st.", "dp.ct.", "dp.sa."], &[Run(Alnum, 40, 44)]),
    ("doppler-token", &["dp.st.", "dp.ct."], &[Run(Word, 2, 35), Lit("."), Run(Alnum, 40, 44)]),
    ("planetscale-token", &["pscale_tkn_", "pscale_pw_", "pscale_oauth_"], &[Run(B64Url, 32, 64)]),
    ("rubygems-key", &["rubygems_"], &[Run(Hex, 48, 48)]),
    ("supabase-key", &["sbp_"], &[Run(Hex, 40, 40)]),
    ("supabase-key", &["sb_secret_"], &[Run(B64Url, 22, 64)]),
    ("age-key", &["AGE-SECRET-KEY-1"], &[Run(Upper, 58, 58)]),
    ("alibaba-key", &["LTAI"], &[Run(Alnum, 16, 26)]),
    ("tencent-key", &["AKID"], &[Run(Alnum, 32, 32)]),
    ("easypost-key", &["EZAK", "EZTK"], &[Run(Alnum, 54, 54)]),
    ("netlify-token", &["nfp_", "nfc_"], &[Run(Alnum, 36, 40)]),
    ("fly-token", &["fo1_"], &[Run(B64Url, 43, 43)]),
    ("dropbox-token", &["sl.u.", "sl."], &[Run(B64Url, 60, 1_300)]),
    ("cloudflare-key", &["v1.0-"], &[Run(Hex, 24, 24), Lit("-"), Run(Hex, 146, 146)]),
    ("onepassword-token", &["ops_eyJ"], &[Run(B64Url, 100, 1_024)]),
    ("azure-sas", &["sig="], &[Run(Escaped, 43, 120)]),
];

/// The bytes that follow a literal, if they have this form. The last run must not go on.
pub(super) fn length(text: &[u8], parts: &[Part]) -> Option<usize> {
    let mut at = 0;
    for part in parts {
        match *part {
            Lit(literal) => {
                text[at..].starts_with(literal.as_bytes()).then_some(())?;
                at += literal.len();
            }
            Run(class, least, most) => {
                let rest = &text[at..];
                let most = most.min(rest.len());
                let run = rest[..most].iter().take_while(|byte| class.has(**byte)).count();
                if run < least || rest.get(run).is_some_and(|byte| class.has(*byte)) {
                    return None;
                }
                at += run;
            }
        }
    }
    // A letter or digit right after it: it is the beginning of something else.
    let goes_on = text.get(at).is_some_and(u8::is_ascii_alphanumeric);
    (!goes_on).then_some(at)
}

/// True for a text that stands for a secret in an example: `xxxxxxxx`, `0000000000`.
pub(super) fn is_placeholder(random: &[u8]) -> bool {
    let mut seen = [false; 256];
    for byte in random {
        seen[usize::from(*byte)] = true;
    }
    seen.iter().filter(|is| **is).count() < 6
}

/// Tokens whose last six characters are the CRC-32 of what comes after the mark, in base 62.
pub(super) const SUMMED: [&str; 6] = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "npm_"];

/// True if the check characters of such a token are right. Longer ones have another form.
pub(super) fn is_summed(random: &[u8]) -> bool {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    if random.len() != 36 {
        return true;
    }
    let (entropy, check) = random.split_at(30);
    let mut sum = !0_u32;
    for byte in entropy {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
        }
    }
    sum = !sum;
    check.iter().rev().all(|byte| {
        let digit = DIGITS[(sum % 62) as usize];
        sum /= 62;
        *byte == digit
    })
}
