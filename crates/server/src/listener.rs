//! Further ways into a server, beside its own TLS port: each one word and an address, `redirect://0.0.0.0:80`.

use std::{
    fmt,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::PathBuf,
    str::FromStr,
};

use anyhow::{Context, bail};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::net::{TcpListener, UnixListener};

/// Who may connect to a Unix socket for a local proxy: the server's user and group.
const SOCKET_MODE: u32 = 0o660;

/// A way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// `tls://…`: as the server's own port.
    Tls(SocketAddr),
    /// `tls+proxy://…`: TLS that trusted proxies pass on, beginning with the PROXY protocol.
    ProxiedTls(SocketAddr),
    /// `http://…`: from trusted proxies that end TLS.
    Http(SocketAddr),
    /// `unix:…`: from a proxy on this machine that ends TLS.
    Unix(PathBuf),
    /// `redirect://…`: sends browsers to `https://`, and takes nothing else.
    Redirect(SocketAddr),
}

impl Listener {
    /// Whether TLS ends at a proxy before it.
    pub fn is_behind_tls(&self) -> bool {
        matches!(self, Self::Http(_) | Self::Unix(_))
    }

    /// Binds it: what can accept, and its name with the port that it was given.
    pub(crate) async fn bind(&self) -> anyhow::Result<(Bound, Listener)> {
        let said = || format!("can't listen on {self}");
        let tcp = async |address: &SocketAddr| {
            let listener = TcpListener::bind(address).await.with_context(said)?;
            let address = listener.local_addr().with_context(said)?;
            anyhow::Ok((Bound::Tcp(listener), address))
        };
        Ok(match self {
            Self::Tls(address) => tcp(address).await.map(|(bound, address)| (bound, Self::Tls(address)))?,
            Self::ProxiedTls(address) => {
                tcp(address).await.map(|(bound, address)| (bound, Self::ProxiedTls(address)))?
            }
            Self::Http(address) => tcp(address).await.map(|(bound, address)| (bound, Self::Http(address)))?,
            Self::Redirect(address) => tcp(address).await.map(|(bound, address)| (bound, Self::Redirect(address)))?,
            Self::Unix(path) => {
                if std::os::unix::net::UnixStream::connect(path).is_ok() {
                    bail!("can't listen on {self}: another server answers there");
                }
                // What a killed server left behind; a file of another kind is somebody's.
                match std::fs::symlink_metadata(path) {
                    Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path).with_context(said)?,
                    Ok(_) => bail!("can't listen on {self}: there is a file that is no socket; name another path"),
                    Err(_) => {}
                }
                let listener = UnixListener::bind(path).with_context(said)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE)).with_context(said)?;
                (Bound::Unix(listener), self.clone())
            }
        })
    }
}

/// A socket that listens.
pub(crate) enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(address) => write!(f, "tls://{address}"),
            Self::ProxiedTls(address) => write!(f, "tls+proxy://{address}"),
            Self::Http(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Redirect(address) => write!(f, "redirect://{address}"),
        }
    }
}

/// A text names no way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoListener(String);

impl fmt::Display for NoListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(
            f,
            "{text:?} is no listener: write tls://, tls+proxy://, http:// or redirect:// with an address and port, "
        )?;
        write!(f, "such as redirect://0.0.0.0:80, or unix: with a path")
    }
}

impl std::error::Error for NoListener {}

impl FromStr for Listener {
    type Err = NoListener;

    fn from_str(text: &str) -> Result<Self, NoListener> {
        let none = || NoListener(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(none()) } else { Ok(Self::Unix(path.into())) };
        }
        let (kind, address) = text.split_once("://").ok_or_else(none)?;
        let address = address.parse().map_err(|_| none())?;
        match kind {
            "tls" => Ok(Self::Tls(address)),
            "tls+proxy" => Ok(Self::ProxiedTls(address)),
            "http" => Ok(Self::Http(address)),
            "redirect" => Ok(Self::Redirect(address)),
            _ => Err(none()),
        }
    }
}

impl Serialize for Listener {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Listener {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_a_slip_is_refused() {
        for text in [
            "tls://0.0.0.0:8443",
            "tls+proxy://[::]:8443",
            "http://10.0.0.5:8080",
            "unix:/run/iusign/http.sock",
            "redirect://0.0.0.0:80",
        ] {
            assert_eq!(text.parse::<Listener>().map(|listener| listener.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "tls://",
            "tls://localhost:80",
            "tls:0.0.0.0:1",
            "https://0.0.0.0:1",
            "http://0.0.0.0",
            "unix:",
            "/run/x",
        ] {
            assert!(text.parse::<Listener>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_one_that_answers_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = Listener::Unix(folder.path().join("http.sock"));
        drop(listener.bind().await.expect("bound"));
        let held = listener.bind().await.expect("bound again");
        let refused = listener.bind().await.map(|_| ()).expect_err("another answers");
        assert!(refused.to_string().contains("another server"), "{refused}");
        let mode = std::fs::metadata(folder.path().join("http.sock")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        drop(held);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("precious.txt");
        std::fs::write(&path, "precious").expect("written");
        let refused = Listener::Unix(path.clone()).bind().await.map(|_| ()).expect_err("a file is there");
        assert!(refused.to_string().contains("no socket"), "{refused}");
        assert_eq!(std::fs::read(&path).expect("read"), b"precious");
    }
}
