//! The app package that a Teams admin uploads: a manifest (schema 1.17) and two icons, in a ZIP without compression.

use super::inbound::is_guid;
use serde_json::json;
use std::io::{Cursor, Write as _};
use url::Url;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// The icon of 192 × 192.
const COLOR: &[u8] = include_bytes!("color.png");
/// The icon of 32 × 32, white on transparent.
const OUTLINE: &[u8] = include_bytes!("outline.png");

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The app id is not a GUID.
    #[error("app_id: a GUID, as the portal shows it")]
    AppId,
    /// The public URL has no name. Teams opens our pages, so they need one.
    #[error("public_url: Teams needs a host name here, {0:?} has none")]
    PublicUrl(String),
    /// The archive could not be made.
    #[error("the ZIP archive: {0}")]
    Zip(#[from] zip::result::ZipError),
    /// The archive could not be made.
    #[error("the ZIP archive: {0}")]
    Write(#[from] std::io::Error),
}

/// The package's bytes. The same bot and address give the same bytes.
pub fn app_package(app_id: &str, public_url: &str) -> Result<Vec<u8>, Error> {
    let manifest = manifest(app_id, public_url)?;
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let files =
        [("manifest.json", manifest.as_bytes()), ("color.png", COLOR), ("outline.png", OUTLINE)];
    for (name, bytes) in files {
        zip.start_file(name, stored)?;
        zip.write_all(bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

fn manifest(app_id: &str, public_url: &str) -> Result<String, Error> {
    if !is_guid(app_id) {
        return Err(Error::AppId);
    }
    let url = Url::parse(public_url).ok();
    let domain = url.as_ref().and_then(Url::domain);
    let domain = domain.ok_or_else(|| Error::PublicUrl(public_url.to_owned()))?;
    let manifest = json!({
        "$schema": "https://developer.microsoft.com/en-us/json-schemas/teams/v1.17/MicrosoftTeams.schema.json",
        "manifestVersion": "1.17",
        "version": "1.0.0",
        "id": app_id,
        "developer": {
            "name": "Countersign",
            "websiteUrl": public_url,
            "privacyUrl": public_url,
            "termsOfUseUrl": public_url,
        },
        "name": {"short": "Countersign", "full": "Countersign approvals"},
        "description": {
            "short": "Approve or deny what AI agents want to do.",
            "full": "Shows calls of AI agents that wait for people, and takes their answers. Every answer is an entry of a tamper-evident log.",
        },
        "icons": {"color": "color.png", "outline": "outline.png"},
        "accentColor": "#0F4C5C",
        "bots": [{
            "botId": app_id,
            "scopes": ["team", "groupChat", "personal"],
            "supportsFiles": false,
            "isNotificationOnly": false,
        }],
        "permissions": ["identity", "messageTeamMembers"],
        "validDomains": [domain],
    });
    Ok(format!("{manifest:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "11111111-2222-3333-4444-555555555555";

    #[test]
    fn the_package_holds_three_files() {
        let bytes = app_package(APP, "https://log.example.com/").unwrap();
        let mut zip = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
        let manifest: serde_json::Value =
            serde_json::from_reader(zip.by_name("manifest.json").unwrap()).unwrap();
        assert_eq!(manifest["bots"][0]["botId"], APP);
        assert_eq!(manifest["validDomains"], json!(["log.example.com"]));
        assert_eq!(zip.len(), 3);
        assert_eq!(bytes, app_package(APP, "https://log.example.com/").unwrap());
    }

    #[test]
    fn icons_have_the_sizes_that_teams_wants() {
        for (png, side) in [(COLOR, 192_u32), (OUTLINE, 32)] {
            assert_eq!(&png[16..24], [side.to_be_bytes(), side.to_be_bytes()].concat());
        }
    }

    #[test]
    fn a_package_needs_an_id_and_a_name() {
        assert!(matches!(app_package("bot", "https://log.example.com"), Err(Error::AppId)));
        assert!(matches!(app_package(APP, "http://127.0.0.1:8470"), Err(Error::PublicUrl(_))));
    }
}
