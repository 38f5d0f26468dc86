//! Configuration: flags, then the environment (`IUSIGN_…`), then a TOML file; unknown names are refused, secrets masked.
//!
//! One type is all three: a flag `--public-url` is the variable `IUSIGN_PUBLIC_URL` is the file's `public_url`.

use std::{
    fmt, fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::ValueEnum;
use ipnet::IpNet;
use serde::{Deserialize, Serialize, Serializer};
use server::Listener;
use zeroize::Zeroizing;

/// The port where nothing else is said.
pub const PORT: u16 = 8443;
/// The data folder where nothing else is said.
const DATA_DIR: &str = "iusign-data";
/// The file that is read from the data folder where no other is named.
const CONFIG_FILE: &str = "iusign.toml";
/// Worker processes at most; each may take 1 GiB of memory.
const WORKERS_MAX: usize = 64;
/// Variables of `IUSIGN_…` that are no settings of the server: the API's commands read them.
const OTHER_VARIABLES: [&str; 5] =
    ["IUSIGN_URL", "IUSIGN_CA_FILE", "IUSIGN_API_KEY", "IUSIGN_API_KEY_FILE", "IUSIGN_CONFIG"];
/// Variables that tests of this program may set for themselves.
const TEST_VARIABLES: &str = "IUSIGN_TEST_";

/// A text that hides itself.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl Hidden {
    /// The text in clear.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(********)")
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("********")
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        drop(Zeroizing::new(std::mem::take(&mut self.0)));
    }
}

/// How the log's lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// The header in which a trusted proxy names the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Addresses of proxies: one address, or a CIDR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxies(pub IpNet);

impl std::str::FromStr for Proxies {
    type Err = model::allowlist::EntryFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        model::allowlist::entry(text).map(Self)
    }
}

impl Serialize for Proxies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Proxies {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How much may be asked, as `60/10`: requests a minute, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateText(pub gate::Rate);

impl std::str::FromStr for RateText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no rate: write requests a minute and how many at once, as 60/10");
        let (per_minute, burst) = text.split_once('/').ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0).ok_or_else(wrong);
        Ok(Self(gate::Rate { per_minute: number(per_minute)?, burst: number(burst)? }))
    }
}

impl Serialize for RateText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}/{}", self.0.per_minute, self.0.burst))
    }
}

impl<'de> Deserialize<'de> for RateText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What an operator may set.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The data folder: database, files, keys, the operator's socket [default: iusign-data]
    #[arg(long, env = "IUSIGN_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8443]
    #[arg(long, env = "IUSIGN_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// A PostgreSQL in place of the embedded database: postgres://user@host/database
    #[arg(long, env = "IUSIGN_DATABASE", value_name = "URL", hide_env_values = true)]
    #[serde(serialize_with = "without_password")]
    pub database: Option<String>,
    /// Where files are kept; several servers on one database share it [default: files in the data folder]
    #[arg(long, env = "IUSIGN_FILES_DIR", value_name = "DIR")]
    pub files_dir: Option<PathBuf>,
    /// How clients and recipients reach the server: https://sign.example.com [default: the address it listens on]
    #[arg(long, env = "IUSIGN_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// The TLS certificate with its chain, PEM [default: one of a local CA in the data folder]
    #[arg(long, env = "IUSIGN_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, env = "IUSIGN_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// A further name or address for the local CA's certificate; may be repeated
    #[arg(long = "tls-name", env = "IUSIGN_TLS_NAMES", value_delimiter = ',', value_name = "NAME")]
    pub tls_names: Vec<String>,
    /// The certificate that seals, PEM [default: made in the data folder]
    #[arg(long, env = "IUSIGN_SEAL_CERT", value_name = "FILE", requires = "seal_key")]
    pub seal_cert: Option<PathBuf>,
    /// Its private key, ECDSA P-256, PKCS#8 PEM
    #[arg(long, env = "IUSIGN_SEAL_KEY", value_name = "FILE", requires = "seal_cert")]
    pub seal_key: Option<PathBuf>,
    /// The file of the master key, 64 hexadecimal digits [default: master.key in the data folder]
    #[arg(long, env = "IUSIGN_MASTER_KEY_FILE", value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
    /// From the variable IUSIGN_MASTER_KEY alone: it has no place on a command line or in a file beside the data.
    #[arg(skip)]
    #[serde(skip_deserializing)]
    pub master_key: Option<Hidden>,
    /// Processes that read and draw documents for one tenant, and one more for the others [default: one for each processor]
    #[arg(long, env = "IUSIGN_WORKERS", value_name = "NUMBER")]
    pub workers: Option<usize>,
    /// API keys that are remembered between requests, 1 to 2 KiB each [default: 100000]
    #[arg(long, env = "IUSIGN_REMEMBERED_KEYS", value_name = "NUMBER")]
    pub remembered_keys: Option<usize>,
    /// What a key may ask on this server: requests a minute, and how many at once [default: 3000000/100000]
    #[arg(long, env = "IUSIGN_KEY_RATE", value_name = "MINUTE/BURST")]
    pub key_rate: Option<RateText>,
    /// What all keys of a tenant together may ask [default: 6000000/200000]
    #[arg(long, env = "IUSIGN_TENANT_RATE", value_name = "MINUTE/BURST")]
    pub tenant_rate: Option<RateText>,
    /// A proxy whose header is believed, as an address or CIDR; may be repeated
    #[arg(long = "trusted-proxy", env = "IUSIGN_TRUSTED_PROXIES", value_delimiter = ',', value_name = "CIDR")]
    pub trusted_proxies: Vec<Proxies>,
    /// A further way in, may be repeated: tls://ADDRESS:PORT, tls+proxy://… (PROXY protocol of trusted proxies), http://… or
    /// unix:PATH (a trusted proxy that ends TLS), redirect://… (sends browsers to https)
    #[arg(long = "listener", env = "IUSIGN_LISTENERS", value_delimiter = ',', value_name = "LISTENER")]
    pub listeners: Vec<Listener>,
    /// The header in which it names the client
    #[arg(long, env = "IUSIGN_PROXY_HEADER", value_name = "HEADER")]
    pub proxy_header: Option<ProxyHeader>,
    /// The mail server for production: its name
    #[arg(long, env = "IUSIGN_SMTP_HOST", value_name = "HOST")]
    pub smtp_host: Option<String>,
    /// Its port: 465 means TLS from the start, others STARTTLS [default: 587]
    #[arg(long, env = "IUSIGN_SMTP_PORT", value_name = "PORT")]
    pub smtp_port: Option<u16>,
    /// The account at the mail server; its password comes from IUSIGN_SMTP_PASSWORD or the file
    #[arg(long, env = "IUSIGN_SMTP_USERNAME", value_name = "NAME")]
    pub smtp_username: Option<String>,
    /// From the variable IUSIGN_SMTP_PASSWORD or the file.
    #[arg(skip)]
    pub smtp_password: Option<Hidden>,
    /// Who the mails come from: 'Example Ltd <sign@example.com>'
    #[arg(long, env = "IUSIGN_SMTP_FROM", value_name = "MAILBOX")]
    pub smtp_from: Option<String>,
    /// Speak to the mail server in clear: for one on this machine alone
    #[arg(long, env = "IUSIGN_SMTP_PLAIN", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub smtp_plain: Option<bool>,
    /// Where GitHub publishes the keys that it signs reports of leaked keys with, a file or an https:// URL:
    /// https://api.github.com/meta/public_keys/secret_scanning [default: no report is believed to be GitHub's]
    #[arg(long, env = "IUSIGN_LEAKS_GITHUB_KEYS", value_name = "FILE or URL")]
    pub leaks_github_keys: Option<String>,
    /// How the log's lines look [default: text]
    #[arg(long, env = "IUSIGN_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, or a filter such as info,iusign_app=debug [default: info]
    #[arg(long, env = "IUSIGN_LOG_LEVEL", value_name = "FILTER")]
    pub log_level: Option<String>,
}

/// Calls the macro with every setting's name, so that a new one is forgotten nowhere.
macro_rules! settings {
    ($use:ident) => {
        $use! {
            data_dir listen database files_dir public_url tls_cert tls_key seal_cert seal_key master_key_file master_key
            workers remembered_keys key_rate tenant_rate leaks_github_keys proxy_header smtp_host smtp_port smtp_username smtp_password smtp_from smtp_plain log_format log_level
        }
    };
}

impl Settings {
    /// What is in force: these flags and variables, then the file (`--config`, else `iusign.toml` in the data folder).
    pub fn complete(mut self, file: Option<&Path>) -> anyhow::Result<Self> {
        refuse_unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))?;
        self.master_key = std::env::var("IUSIGN_MASTER_KEY").ok().map(Hidden);
        self.smtp_password = std::env::var("IUSIGN_SMTP_PASSWORD").ok().map(Hidden);
        let beside = self.data_dir().join(CONFIG_FILE);
        let complete = match file {
            Some(file) => self.or(read(file)?),
            None if beside.exists() => self.or(read(&beside)?),
            None => self,
        };
        complete.check()?;
        Ok(complete)
    }

    /// These, and where they say nothing those.
    fn or(self, below: Settings) -> Self {
        let list = |own: Vec<_>, below| if own.is_empty() { below } else { own };
        let tls_names = if self.tls_names.is_empty() { below.tls_names } else { self.tls_names };
        let trusted_proxies = list(self.trusted_proxies, below.trusted_proxies);
        let listeners = if self.listeners.is_empty() { below.listeners } else { self.listeners };
        macro_rules! each {
            ($($name:ident)*) => { Self { $($name: self.$name.or(below.$name),)* tls_names, trusted_proxies, listeners } };
        }
        settings!(each)
    }

    fn check(&self) -> anyhow::Result<()> {
        for (one, other, names) in [
            (&self.tls_cert, &self.tls_key, "tls_cert and tls_key"),
            (&self.seal_cert, &self.seal_key, "seal_cert and seal_key"),
        ] {
            if one.is_some() != other.is_some() {
                bail!("{names} belong together: set both or none");
            }
        }
        if let Some(url) = &self.public_url
            && !(url.starts_with("https://") && reqwest::Url::parse(url).is_ok_and(|url| url.path() == "/"))
        {
            bail!("public_url has to be https:// and a host, without a path: https://sign.example.com");
        }
        if let Some(url) = &self.database
            && !(url.starts_with("postgres://") || url.starts_with("postgresql://"))
        {
            bail!("database has to be postgres://user@host/database; leave it out for the embedded one");
        }
        if self.workers.is_some_and(|workers| !(1..=WORKERS_MAX).contains(&workers)) {
            bail!("workers has to be 1 to {WORKERS_MAX}");
        }
        if self.leaks_github_keys.as_ref().is_some_and(|keys| keys.starts_with("http://")) {
            bail!(
                "leaks_github_keys has to be a file or an https:// URL: keys that anybody can change on the way prove nothing"
            );
        }
        if self.smtp_host.is_some() && self.smtp_from.is_none() {
            bail!("smtp_from is missing: say who the mails come from");
        }
        self.check_proxies()
    }

    /// Which proxies are trusted, what they write, and how they come in belong together.
    fn check_proxies(&self) -> anyhow::Result<()> {
        let has = |kind: fn(&Listener) -> bool| self.listeners.iter().any(kind);
        let is_trusting = !self.trusted_proxies.is_empty();
        let has_header = self.proxy_header.is_some();
        if has(|listener| matches!(listener, Listener::ProxiedTls(_))) && !is_trusting {
            bail!(
                "a listener tls+proxy:// needs trusted_proxies: who may say by the PROXY protocol where a connection comes from"
            );
        }
        if has(|listener| matches!(listener, Listener::Http(_))) && !(is_trusting && has_header) {
            bail!(
                "a listener http:// needs trusted_proxies and proxy_header: TLS ends at a proxy that says where requests come from"
            );
        }
        if has(|listener| matches!(listener, Listener::Unix(_))) && !has_header {
            bail!("a listener unix: needs proxy_header: TLS ends at a proxy that says where requests come from");
        }
        let is_used = has(|listener| matches!(listener, Listener::ProxiedTls(_)));
        if is_trusting && !has_header && !is_used {
            bail!("trusted_proxies and proxy_header belong together: set both or none");
        }
        if has_header && !is_trusting && !has(|listener| matches!(listener, Listener::Unix(_))) {
            bail!("proxy_header and trusted_proxies belong together: set both or none");
        }
        Ok(())
    }

    /// The data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| DATA_DIR.into())
    }

    /// Where to listen.
    pub fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT))
    }

    /// How many workers.
    pub fn workers(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.workers.unwrap_or_else(|| processors().min(WORKERS_MAX))
    }

    /// What is in force, as a file could say it, secrets masked.
    pub fn print(&self) -> anyhow::Result<String> {
        let shown = Self {
            data_dir: Some(self.data_dir()),
            listen: Some(self.listen()),
            workers: Some(self.workers()),
            log_format: self.log_format.or(Some(LogFormat::Text)),
            log_level: self.log_level.clone().or_else(|| Some("info".to_owned())),
            ..self.clone()
        };
        toml::to_string(&shown).context("the settings can't be written as TOML")
    }
}

fn read(file: &Path) -> anyhow::Result<Settings> {
    let text = fs::read_to_string(file).with_context(|| format!("can't read the configuration {}", file.display()))?;
    // The error's own words name the key or the place; the whole file, which may hold a password, is not repeated.
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
        anyhow::anyhow!("{}, line {line}: {}", file.display(), error.message())
    })
}

/// A slip in a variable's name must not mean another database.
fn refuse_unknown_variables(names: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let mut known: Vec<String> = OTHER_VARIABLES.iter().map(ToString::to_string).collect();
    macro_rules! each {
        ($($name:ident)*) => { [$(stringify!($name)),*] };
    }
    let settings = settings!(each);
    known.extend(settings.iter().chain(&["tls_names", "trusted_proxies", "listeners"]).map(|name| variable(name)));
    let stranger =
        |name: &String| name.starts_with("IUSIGN_") && !name.starts_with(TEST_VARIABLES) && !known.contains(name);
    let unknown: Vec<String> = names.filter(stranger).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    bail!("unknown in the environment: {}. `iusign serve --help` names every variable", unknown.join(", "))
}

fn variable(setting: &str) -> String {
    format!("IUSIGN_{}", setting.to_uppercase())
}

fn without_password<S: Serializer>(url: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_deref().map(masked).serialize(serializer)
}

/// A URL without the password of its login, and without that of its query, which PostgreSQL's drivers read too.
fn masked(url: &str) -> String {
    const MASK: &str = "********";
    let (url, query) = url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
    let parts = url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?)));
    let mut shown = match parts.and_then(|(scheme, (login, place))| Some((scheme, login.split_once(':')?.0, place))) {
        Some((scheme, user, place)) => format!("{scheme}://{user}:{MASK}@{place}"),
        None => url.to_owned(),
    };
    for (place, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if place == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name @ ("password" | "sslpassword"), _)) => shown.extend([name, "=", MASK]),
            _ => shown.push_str(pair),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Settings, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("iusign.toml");
        fs::write(&path, text).expect("written");
        let settings = read(&path).map_err(|error| format!("{error:#}"))?;
        settings.check().map_err(|error| format!("{error:#}")).map(|()| settings)
    }

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let flags = Settings { workers: Some(3), ..Settings::default() };
        let below = file(
            "workers = 9\nlog_level = \"debug\"\ntrusted_proxies = [\"10.0.0.0/8\"]\nproxy_header = \"forwarded\"\n",
        );
        let both = flags.or(below.expect("settings"));
        assert_eq!(both.workers, Some(3));
        assert_eq!(both.log_level.as_deref(), Some("debug"));
        assert_eq!(both.trusted_proxies.len(), 1);
        assert_eq!(both.listen().to_string(), "127.0.0.1:8443");
    }

    #[test]
    fn an_unknown_name_is_refused_at_its_line_and_the_file_is_not_repeated() {
        let refused = file("smtp_password = \"hunter2\"\ndatabse = \"x\"\n").expect_err("unknown");
        assert!(refused.contains("line 2") && refused.contains("databse") && !refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn an_unknown_variable_is_refused() {
        let names = ["IUSIGN_DATABSE", "IUSIGN_LISTEN", "IUSIGN_TLS_NAMES", "IUSIGN_URL", "IUSIGN_TEST_PG", "PATH"];
        let refused = refuse_unknown_variables(names.iter().map(ToString::to_string)).expect_err("unknown");
        assert!(refused.to_string().starts_with("unknown in the environment: IUSIGN_DATABSE."), "{refused}");
    }

    #[test]
    fn what_is_in_force_shows_no_secret() {
        let settings = Settings {
            database: Some("postgres://app:hunter2@db/iusign".into()),
            smtp_password: Some(Hidden("hunter2".into())),
            master_key: Some(Hidden("hunter2".into())),
            ..Settings::default()
        };
        let shown = settings.print().expect("TOML");
        assert!(!shown.contains("hunter2") && shown.contains("postgres://app:********@db/iusign"), "{shown}");
        assert!(!format!("{:?}", settings.smtp_password).contains("hunter2"));
    }

    #[test]
    fn what_belongs_together_is_asked_for_together() {
        for (text, why) in [
            ("tls_cert = \"a\"", "belong together"),
            ("public_url = \"http://sign.example.com\"", "public_url"),
            ("public_url = \"https://sign.example.com/a\"", "public_url"),
            ("database = \"mysql://x\"", "database"),
            ("workers = 0", "workers"),
            ("smtp_host = \"mail\"", "smtp_from"),
            ("leaks_github_keys = \"http://example.com/keys\"", "https://"),
            ("proxy_header = \"forwarded\"", "belong together"),
            ("trusted_proxies = [\"10.0.0.1\"]", "belong together"),
            ("trusted_proxies = [\"10.0.0.1/8\"]", "write 10.0.0.0/8"),
            ("listeners = [\"http://0.0.0.0:80\"]", "needs trusted_proxies and proxy_header"),
            ("listeners = [\"tls+proxy://0.0.0.0:80\"]", "needs trusted_proxies"),
            ("listeners = [\"unix:/run/x.sock\"]", "needs proxy_header"),
            ("listeners = [\"https://0.0.0.0:80\"]", "is no listener"),
            ("key_rate = \"60\"", "60/10"),
            ("key_rate = \"0/10\"", "60/10"),
        ] {
            let refused = file(text).expect_err(text);
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }

    #[test]
    fn a_password_is_shown_in_no_part_of_a_url() {
        for (url, shown) in [
            ("postgres://a:b@h/d", "postgres://a:********@h/d"),
            ("postgres://a:b%40@h/d?sslmode=require", "postgres://a:********@h/d?sslmode=require"),
            ("postgres://h/d?user=a&password=b&x", "postgres://h/d?user=a&password=********&x"),
            ("postgres://a@h/d", "postgres://a@h/d"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }
}
