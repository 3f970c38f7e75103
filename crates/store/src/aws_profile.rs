//! Credentials from the files of Amazon's command line, `~/.aws/credentials` and `~/.aws/config`.

use std::path::PathBuf;

use crate::environment::Environment;

/// What a profile says that a client of S3 can use.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<String>,
    pub session_token: Option<String>,
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
}

impl Profile {
    /// The profile that `AWS_PROFILE` names, or the default one. Files that cannot be read say nothing.
    pub(crate) fn load(environment: &Environment) -> Self {
        let name = environment.get("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
        let path = |variable: &str, file: &str| {
            let named = environment.path(variable);
            named.or_else(|| Some(environment.path("HOME")?.join(".aws").join(file)))
        };
        let text = |path: Option<PathBuf>| {
            path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
        };
        let mut profile = Self::default();
        profile
            .read(&text(path("AWS_CONFIG_FILE", "config")), &[&format!("profile {name}"), &name]);
        profile.read(&text(path("AWS_SHARED_CREDENTIALS_FILE", "credentials")), &[&name]);
        profile
    }

    /// Takes the keys of the sections of these names.
    fn read(&mut self, text: &str, sections: &[&str]) {
        let mut inside = false;
        for line in text.lines() {
            // An indented line belongs to a nested setting.
            if line.starts_with([' ', '\t', '#', ';']) {
                continue;
            }
            if let Some(name) = line.trim_end().strip_prefix('[').and_then(|l| l.strip_suffix(']'))
            {
                inside = sections.contains(&name.trim());
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| inside) else { continue };
            let field = match key.trim() {
                "aws_access_key_id" => &mut self.access_key_id,
                "aws_secret_access_key" => &mut self.secret_access_key,
                "aws_session_token" => &mut self.session_token,
                "region" => &mut self.region,
                "endpoint_url" => &mut self.endpoint_url,
                _ => continue,
            };
            *field = Some(value.trim().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_sections_are_read_and_no_others() {
        let config = "# mine\n[default]\nregion = eu-west-1\ns3 =\n  endpoint_url = http://nested\n\
                      [profile other]\nregion=us-east-2\nendpoint_url = http://store\noutput = json\n";
        let keys = "[default]\naws_access_key_id = A\naws_secret_access_key = b=c\n[other]\n\
                    aws_access_key_id=X\naws_session_token = t\n";
        let mut profile = Profile::default();
        profile.read(config, &["profile default", "default"]);
        profile.read(keys, &["default"]);
        let some = |text: &str| Some(text.to_owned());
        let expected = Profile {
            access_key_id: some("A"),
            secret_access_key: some("b=c"),
            region: some("eu-west-1"),
            ..Profile::default()
        };
        assert_eq!(profile, expected);
        let mut profile = Profile::default();
        profile.read(config, &["profile other", "other"]);
        profile.read(keys, &["other"]);
        assert_eq!(
            (profile.region, profile.endpoint_url),
            (some("us-east-2"), some("http://store"))
        );
        assert_eq!((profile.access_key_id, profile.session_token), (some("X"), some("t")));
    }
}
