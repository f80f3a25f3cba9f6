//! The changes of a configuration that is read again, and those of them that need a restart.

use tinqs_ci_gitea::Config;
use tinqs_ci_reconciler::model::{Class, MachineSpec, Secret};

use super::types::{ComputeUrl, Server, Settings};

/// The difference between the settings in force and those read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Changes that take effect at once: `class linux: changed limit, max_age`, `forge.token`.
    pub changed: Vec<String>,
    /// Keys whose new value takes effect at the next start: `server.api`.
    pub restart: Vec<String>,
}

impl Changes {
    fn key(&mut self, key: &str, differs: bool) {
        if differs {
            self.changed.push(key.to_owned());
        }
    }

    fn at_restart(&mut self, key: &str, differs: bool) {
        if differs {
            self.restart.push(key.to_owned());
        }
    }

    /// Takes the new credential, except that one which decides how the server works can neither be
    /// added nor removed.
    fn fixed_secret(
        &mut self,
        key: &str,
        before: Option<&Secret>,
        after: Option<Secret>,
    ) -> Option<Secret> {
        if before.is_some() == after.is_some() {
            self.key(key, before != after.as_ref());
            return after;
        }
        self.at_restart(key, true);
        before.cloned()
    }
}

/// Returns the settings that take effect when `after` is read while `before` is in force: what
/// cannot change while the server runs stays as in `before`.
pub fn merge(before: &Settings, after: Settings) -> (Settings, Changes) {
    let mut changes = Changes::default();
    let Settings {
        installation,
        forge,
        store,
        queue,
        compute,
        process,
        launches,
        server,
        prices,
        classes,
    } = after;
    changes.at_restart("installation", before.installation != installation);
    changes.at_restart("store", before.store != store);
    changes.at_restart("queue", before.queue != queue);
    changes.at_restart("compute", before.compute != compute);
    changes.at_restart("process", before.process != process);
    changes.at_restart("aws", before.launches != launches);
    changes.key("prices", before.prices != prices);
    let forge = merge_forge(&before.forge, forge, &mut changes);
    let more = |server: &Server| server.webhook_secrets.clone();
    let other = more(&before.server) != more(&server);
    changes
        .key("forge.webhook_secret", other && before.forge.webhook_secret == forge.webhook_secret);
    let server = merge_server(&before.server, server, &mut changes);
    let in_ec2 = |compute: &ComputeUrl| matches!(compute, ComputeUrl::Ec2(_));
    // Classes fit the compute that they were written for.
    let other_compute = before.compute != compute && (in_ec2(&before.compute) || in_ec2(&compute));
    let classes = if other_compute {
        changes.at_restart("class", before.classes != classes);
        before.classes.clone()
    } else {
        class_changes(&before.classes, &classes, &mut changes.changed);
        classes
    };
    let settings = Settings {
        installation: before.installation.clone(),
        forge,
        store: before.store.clone(),
        queue: before.queue.clone(),
        compute: before.compute.clone(),
        process: before.process.clone(),
        launches: before.launches,
        server,
        prices,
        classes,
    };
    (settings, changes)
}

fn merge_forge(before: &Config, after: Config, changes: &mut Changes) -> Config {
    changes.at_restart("forge.url", before.url != after.url);
    changes.at_restart("forge.demand", before.demand != after.demand);
    changes.at_restart("forge.scope", before.scope != after.scope);
    changes.at_restart("forge.register_in", before.register_in != after.register_in);
    changes.key("forge.machine_url", before.machine_url != after.machine_url);
    changes.key("forge.runner_token", before.runner_token != after.runner_token);
    changes.key("forge.git_token", before.git_token != after.git_token);
    changes.key("forge.poll_every", before.poll_every != after.poll_every);
    changes.key("forge.sweep_every", before.sweep_every != after.sweep_every);
    Config {
        url: before.url.clone(),
        demand: before.demand,
        scope: before.scope.clone(),
        register_in: before.register_in,
        token: changes.fixed_secret("forge.token", before.token.as_ref(), after.token),
        webhook_secret: changes.fixed_secret(
            "forge.webhook_secret",
            before.webhook_secret.as_ref(),
            after.webhook_secret,
        ),
        ..after
    }
}

fn merge_server(before: &Server, after: Server, changes: &mut Changes) -> Server {
    changes.at_restart("server.webhooks", before.webhooks != after.webhooks);
    changes.at_restart("server.api", before.api != after.api);
    changes.at_restart("server.metrics", before.metrics != after.metrics);
    changes.at_restart("server.event_clients", before.event_clients != after.event_clients);
    changes.key("server.hosts", before.hosts != after.hosts);
    changes.key("server.log", before.log != after.log);
    changes.at_restart("server.emf", before.emf != after.emf);
    let tls = match (&before.tls, after.tls) {
        (Some(former), Some(tls)) => {
            changes.key("server.tls", *former != tls);
            Some(tls)
        }
        // Whether there is TLS decides who may reach the API.
        (former, tls) => {
            changes.at_restart("server.tls", former.is_some() || tls.is_some());
            former.clone()
        }
    };
    // The start creates a token if none is configured.
    let removed = !before.tokens.is_empty() && after.tokens.is_empty();
    let tokens = if removed {
        changes.at_restart("server.token", true);
        before.tokens.clone()
    } else {
        changes.key("server.token", before.tokens != after.tokens);
        after.tokens
    };
    let own_token = before.own_token.clone().filter(|_| tokens.is_empty());
    Server {
        webhooks: before.webhooks,
        api: before.api,
        metrics: before.metrics,
        tls,
        hosts: after.hosts,
        event_clients: before.event_clients,
        tokens,
        own_token,
        webhook_secrets: after.webhook_secrets,
        log: after.log,
        emf: before.emf,
    }
}

fn class_changes(before: &[Class], after: &[Class], changed: &mut Vec<String>) {
    let find = |classes: &[Class], class: &Class| {
        classes.iter().find(|other| other.name == class.name).cloned()
    };
    for class in before.iter().filter(|class| find(after, class).is_none()) {
        changed.push(format!("class {}: removed", class.name));
    }
    for class in after {
        match find(before, class) {
            None => changed.push(format!("class {}: added", class.name)),
            Some(earlier) if earlier != *class => {
                let keys = class_keys(&earlier, class).join(", ");
                changed.push(format!("class {}: changed {keys}", class.name));
            }
            Some(_) => {}
        }
    }
    let order = |classes: &[Class], others: &[Class]| {
        let both = classes.iter().filter(|class| find(others, class).is_some());
        both.map(|class| class.name.clone()).collect::<Vec<_>>()
    };
    if order(before, after) != order(after, before) {
        changed.push("class: changed order".to_owned());
    }
}

/// Returns the keys in which two classes differ.
fn class_keys(before: &Class, after: &Class) -> Vec<&'static str> {
    let (old, new) = (&before.times, &after.times);
    let values = |class: &Class, value: fn(&MachineSpec) -> String| {
        let mut values: Vec<String> = class.machines.iter().map(value).collect();
        let mut seen = std::collections::BTreeSet::new();
        values.retain(|value| seen.insert(value.clone()));
        values
    };
    let machines =
        |value: fn(&MachineSpec) -> String| values(before, value) != values(after, value);
    let runners = |class: &Class| class.machines.first().and_then(|spec| spec.runner.clone());
    let differs = [
        ("labels", before.labels != after.labels),
        ("serves_unlabeled", before.serves_unlabeled != after.serves_unlabeled),
        ("repos", before.repos != after.repos),
        ("limit", before.limit != after.limit),
        ("repo_limit", before.repo_limit != after.repo_limit),
        ("owner_limit", before.owner_limit != after.owner_limit),
        ("budget", before.budget != after.budget),
        ("rerun", before.rerun.jobs != after.rerun.jobs),
        ("rerun_limit", before.rerun.limit != after.rerun.limit),
        ("boot_within", old.boot_within != new.boot_within),
        ("idle_within", old.idle_within != new.idle_within),
        ("max_age", old.max_age != new.max_age),
        ("give_up_after", old.give_up_after != new.give_up_after),
        ("assign_within", old.assign_within != new.assign_within),
        ("keep", old.keep != new.keep),
        ("hold", old.hold != new.hold),
        ("markets", machines(|spec| format!("{:?}", spec.market))),
        ("kinds", machines(|spec| spec.kind.clone())),
        ("subnets", machines(|spec| spec.subnet.clone())),
        ("image", machines(|spec| spec.image.clone())),
        ("security_groups", machines(|spec| spec.security_groups.join(","))),
        ("instance_profile", machines(|spec| spec.instance_profile.clone())),
        ("runner", runners(before) != runners(after)),
        ("disk_gib", machines(|spec| format!("{:?}", spec.options.disk_gib))),
        ("disk_iops", machines(|spec| format!("{:?}", spec.options.disk_iops))),
        ("disk_throughput", machines(|spec| format!("{:?}", spec.options.disk_throughput))),
        ("disk_encryption", machines(|spec| format!("{:?}", spec.options.disk_encryption))),
        ("public_address", machines(|spec| format!("{:?}", spec.options.public_address))),
        ("cpu_credits", machines(|spec| format!("{:?}", spec.options.cpu_credits))),
        ("hop_limit", machines(|spec| format!("{:?}", spec.options.hop_limit))),
        ("tags", machines(|spec| format!("{:?}", spec.options.tags))),
        ("launch_template", machines(|spec| format!("{:?}", spec.options.launch_template))),
        ("allocation", before.allocation != after.allocation),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::types::{Right, Token};
    use super::super::{Env, parse};
    use super::*;

    fn settings(text: &str) -> Settings {
        let text = format!("{text}\n[forge]\nurl = \"http://forge\"\n");
        parse(&text, Some(Path::new("ci.toml")), &Env::new()).expect("valid").settings
    }

    fn with_forge(text: &str) -> Settings {
        let text = format!("[forge]\n{text}\n");
        parse(&text, Some(Path::new("ci.toml")), &Env::new()).expect("valid").settings
    }

    fn classes(text: &str) -> Settings {
        let text = format!("[forge]\nurl = \"http://forge\"\n{text}");
        parse(&text, Some(Path::new("ci.toml")), &Env::new()).expect("valid").settings
    }

    #[test]
    fn the_same_settings_change_nothing() {
        let before = classes("[[class]]\nname = \"a\"\nlabels = [\"a\"]");
        let (merged, changes) = merge(&before, before.clone());
        assert_eq!(changes, Changes::default());
        assert_eq!(merged.classes, before.classes);
    }

    #[test]
    fn the_rate_of_launches_changes_at_the_next_start() {
        let before = settings("");
        let (merged, changes) = merge(&before, settings("[aws]\nlaunch_rate = 5"));
        assert_eq!((changes.restart, changes.changed), (vec!["aws".to_owned()], Vec::new()));
        assert_eq!(merged.launches, before.launches);
    }

    #[test]
    fn classes_are_added_removed_changed_and_reordered() {
        let class = |name: &str, rest: &str| {
            format!("[[class]]\nname = \"{name}\"\nlabels = [\"{name}\"]\n{rest}\n")
        };
        let before = classes(&[class("a", ""), class("b", ""), class("c", "")].concat());
        let kinds = "limit = 3\nmax_age = \"1h\"\n[class.machines]\nkinds = [\"x\", \"y\"]";
        let after = classes(&[class("d", ""), class("c", ""), class("a", kinds)].concat());
        let (merged, changes) = merge(&before, after.clone());
        let expected = [
            "class b: removed",
            "class d: added",
            "class a: changed limit, max_age, kinds",
            "class: changed order",
        ];
        assert_eq!(changes.changed, expected);
        assert_eq!(changes.restart, Vec::<String>::new());
        assert_eq!(merged.classes, after.classes);
    }

    #[test]
    fn what_cannot_change_live_stays_and_is_named() {
        let before = settings("installation = \"one\"\nstore = \"redb:./a\"");
        let after = Settings {
            server: Server {
                webhooks: "127.0.0.1:9".parse().expect("an address"),
                ..before.server.clone()
            },
            ..settings("installation = \"two\"\nstore = \"redb:./b\"")
        };
        let (merged, changes) = merge(&before, after);
        assert_eq!(changes.restart, ["installation", "store", "compute", "server.webhooks"]);
        assert_eq!((merged.installation.as_str(), &merged.store), ("one", &before.store));
        assert_eq!(merged.server.webhooks, before.server.webhooks);
        assert_eq!(changes.changed, Vec::<String>::new());

        let after = with_forge("url = \"http://other\"\nscope = \"user\"\npoll_every = \"3s\"");
        let before = with_forge("url = \"http://forge\"");
        let (merged, changes) = merge(&before, after);
        assert_eq!(changes.restart, ["forge.url", "forge.scope"]);
        assert_eq!(changes.changed, ["forge.poll_every"]);
        assert_eq!(merged.forge.url, "http://forge");
        assert_eq!(merged.forge.poll_every.as_secs(), 3);
    }

    #[test]
    fn a_credential_that_decides_how_the_server_works_is_replaced_but_not_added_or_removed() {
        let url = "url = \"http://forge\"\n";
        let none = with_forge(url);
        let one =
            with_forge(&format!("{url}token = \"secret-one\"\nwebhook_secret = \"hook-one\""));
        let two =
            with_forge(&format!("{url}token = \"secret-two\"\nwebhook_secret = \"hook-two\""));
        let keys = ["forge.token", "forge.webhook_secret"];
        let (merged, changes) = merge(&one, two.clone());
        assert_eq!(
            (changes.changed.as_slice(), changes.restart.len()),
            (&keys.map(str::to_owned)[..], 0)
        );
        assert_eq!(merged.forge.token, two.forge.token);
        for (before, after) in [(&none, &one), (&one, &none)] {
            let (merged, changes) = merge(before, after.clone());
            assert_eq!(changes.restart, keys);
            assert_eq!(merged.forge.token, before.forge.token);
        }
    }

    #[test]
    fn tokens_are_replaced_but_the_last_one_is_not_removed() {
        let with = |names: &[&str]| {
            let mut settings = with_forge("url = \"http://forge\"");
            let token = |name: &&str| Token {
                name: (*name).to_owned(),
                secret: Secret::new(format!("a-long-token-of-{name}")),
                may: Right::Operate,
            };
            settings.server.tokens = names.iter().map(token).collect();
            settings
        };
        let before = with(&["a", "b"]);
        let (merged, changes) = merge(&before, with(&["b", "c"]));
        assert_eq!(
            (changes.changed.as_slice(), changes.restart.len()),
            (&["server.token".to_owned()][..], 0)
        );
        assert_eq!(merged.server.tokens, with(&["b", "c"]).server.tokens);
        let (merged, changes) = merge(&before, with(&[]));
        assert_eq!(changes.restart, ["server.token"]);
        assert_eq!(merged.server.tokens, before.server.tokens);
    }

    #[test]
    fn the_created_token_is_kept_until_one_is_configured() {
        let mut before = with_forge("url = \"http://forge\"");
        let secret = Secret::new("the-created-token");
        let own = Token { name: "own".to_owned(), secret, may: Right::Operate };
        before.server.own_token = Some(own.clone());
        let none = with_forge("url = \"http://forge\"");
        let (merged, changes) = merge(&before, none.clone());
        assert_eq!((merged.server.own_token, changes), (Some(own.clone()), Changes::default()));
        let mut one = none;
        one.server.tokens = vec![Token { name: "a".to_owned(), ..own }];
        let (merged, changes) = merge(&before, one);
        assert_eq!(
            (merged.server.own_token, changes.changed),
            (None, vec!["server.token".to_owned()])
        );
    }
}
