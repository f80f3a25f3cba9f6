//! Settings that name AWS services.

use super::*;

#[cfg(feature = "aws")]
#[test]
fn a_dynamodb_table_is_accepted_as_store() {
    let named = |name: &str| {
        let text = with(&format!("store = \"dynamodb:{name}\""));
        parse(&text, &[("HOME_TOKEN", "t")]).map(|loaded| loaded.settings.store)
    };
    let table = named("ci-runs_2.a").expect("a table");
    assert_eq!(table, StoreUrl::Dynamodb("ci-runs_2.a".to_owned()));
    for wrong in ["ab", "a b c", &"x".repeat(256), "arn:aws:dynamodb:eu-west-1:1:table/x"] {
        let mistakes = named(wrong).expect_err(wrong);
        assert!(mistakes.to_string().contains("is not a DynamoDB table name"), "{mistakes}");
    }
}

#[cfg(not(feature = "aws"))]
#[test]
fn a_build_without_aws_rejects_aws_services() {
    bad_top(
        "store = \"dynamodb:runs\"\nqueue = \"sqs:https://x\"\ncompute = \"ec2:eu-central-1\"",
        &expect![[r#"
        ci.toml:1: store: "dynamodb:runs" needs the AWS adapters, which this build lacks: build with `--features aws`, or use "redb:DIRECTORY" (or TINQS_CI_STORE=redb:./data)
        ci.toml:2: queue: "sqs:https://x" needs the AWS adapters, which this build lacks: build with `--features aws`, or use "memory:" (or TINQS_CI_QUEUE=memory:)
        ci.toml:3: compute: "ec2:eu-central-1" needs the AWS adapters, which this build lacks: build with `--features aws`, or use "process:" (or TINQS_CI_COMPUTE=process:)"#]],
    );
    let mistakes = settings::parse("", None, &predecessor()).expect_err("no AWS here");
    expect![[r#"
        DDB_TABLE: store: "dynamodb:runs" needs the AWS adapters, which this build lacks: build with `--features aws`, or use "redb:DIRECTORY" (or TINQS_CI_STORE=redb:./data)
        RUNNER_AMI: compute: "ec2:eu-central-1" needs the AWS adapters, which this build lacks: build with `--features aws`, or use "process:" (or TINQS_CI_COMPUTE=process:)
        fix the variables above; `tinqs-ci schema config` lists every key"#]].assert_eq(&format!("{mistakes}\n{}", mistakes.hint));
}

/// The predecessor's variables.
fn predecessor() -> BTreeMap<String, String> {
    env(&[
        ("GITEA_URL", "https://git.example.com"),
        ("GITEA_TOKEN", "token-of-gitea"),
        ("RUNNER_TOKEN", "token-of-runners"),
        ("RUNNER_AMI", "ami-1"),
        ("SUBNET", "subnet-1"),
        ("SECURITY_GROUP", "sg-1"),
        ("DDB_TABLE", "runs"),
        ("INSTANCE_PROFILE", "p"),
        ("AWS_REGION", "eu-central-1"),
    ])
}

#[test]
fn the_predecessors_variables_fill_in_what_the_environment_leaves_unset() {
    let mut env = predecessor();
    env.insert("TINQS_CI_STORE".into(), "memory:".into());
    env.insert("TINQS_CI_COMPUTE".into(), "process:".into());
    env.insert("TIMEOUT_MINUTES".into(), "30".into());
    let settings = settings::parse("", None, &env).expect("no AWS is asked for").settings;
    assert_eq!(settings.store, StoreUrl::Memory);
    assert_eq!(
        settings.forge.runner_token.expect("from RUNNER_TOKEN").expose(),
        "token-of-runners"
    );
    assert_eq!(settings.classes[0].times.max_age, SignedDuration::from_mins(30));
    assert_eq!(settings.classes[0].limit, Some(20));
    for (text, limit) in [("7", Some(7)), ("none", None)] {
        env.insert("LIMIT".into(), text.into());
        let settings = settings::parse("", None, &env).expect("a limit").settings;
        assert_eq!(settings.classes[0].limit, limit);
    }
    env.insert("TIMEOUT_MINUTES".into(), "soon".into());
    env.insert("LIMIT".into(), "0".into());
    let mistakes = settings::parse("", None, &env).expect_err("no numbers");
    expect![[r#"
        LIMIT: limit: expected a whole number from 1, or none
        TIMEOUT_MINUTES: max_age: expected whole minutes from 1 to 43200"#]]
    .assert_eq(&mistakes.to_string());
}

#[cfg(feature = "aws")]
#[test]
fn the_predecessors_variables_configure_machines_in_ec2() {
    let mut env = predecessor();
    let loaded = settings::parse("", None, &env).expect("a full configuration");
    let warned = |name: &str| loaded.warnings.iter().any(|warning| warning.starts_with(name));
    assert!(warned("RUNNER_TOKEN: ") && warned("class: is not set"), "{:?}", loaded.warnings);
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
    let settings = loaded.settings;
    assert_eq!(settings.store, StoreUrl::Dynamodb("runs".into()));
    assert_eq!(settings.queue, QueueUrl::Memory);
    assert_eq!(settings.compute, ComputeUrl::Ec2("eu-central-1".into()));
    let [class] = &settings.classes[..] else { panic!("{:?}", settings.classes) };
    assert_eq!((class.name.0.as_str(), &class.labels[..]), ("default", &["*".to_owned()][..]));
    assert!(
        !class.serves_labels(&["host".to_owned()]) && class.serves_labels(&["linux".to_owned()])
    );
    let machine = tinqs_ci_reconciler::model::MachineSpec {
        kind: "t3.small".into(),
        subnet: "subnet-1".into(),
        market: Market::Spot,
        image: "ami-1".into(),
        security_groups: vec!["sg-1".into()],
        instance_profile: "p".into(),
        runner: None,
        options: tinqs_ci_reconciler::model::MachineOptions::default(),
    };
    assert_eq!(class.machines, [machine]);

    // Lists, and the alternative region variable.
    env.remove("AWS_REGION");
    env.insert("AWS_DEFAULT_REGION".into(), "us-east-1".into());
    env.insert("SUBNET".into(), "subnet-1, subnet-2".into());
    env.insert("INSTANCE_TYPES".into(), "c7a.medium,m7a.medium".into());
    let settings = settings::parse("", None, &env).expect("lists").settings;
    assert_eq!(settings.compute, ComputeUrl::Ec2("us-east-1".into()));
    let order: Vec<(&str, &str)> = settings.classes[0]
        .machines
        .iter()
        .map(|machine| (machine.kind.as_str(), machine.subnet.as_str()))
        .collect();
    let expected = [
        ("c7a.medium", "subnet-1"),
        ("c7a.medium", "subnet-2"),
        ("m7a.medium", "subnet-1"),
        ("m7a.medium", "subnet-2"),
    ];
    assert_eq!(order, expected);

    env.remove("AWS_DEFAULT_REGION");
    env.remove("SUBNET");
    env.insert("RUNNER_AMI".into(), "latest".into());
    env.insert("INSTANCE_PROFILE".into(), "a b".into());
    let mistakes = settings::parse("", None, &env).expect_err("much is missing");
    expect![[
        r#"RUNNER_AMI: compute: has no region: set AWS_REGION, or write "ec2:eu-central-1" here"#
    ]]
    .assert_eq(&mistakes.to_string());
    env.insert("AWS_REGION".into(), "eu-central-1".into());
    let mistakes = settings::parse("", None, &env).expect_err("the subnet is missing");
    expect![[
        r#"SUBNET: compute: is not set: expected a subnet ID such as "subnet-0123456789abcdef0""#
    ]]
    .assert_eq(&mistakes.to_string());
}

#[cfg(feature = "aws")]
#[test]
fn the_predecessors_variables_may_name_the_runner_that_machines_fetch() {
    let mut env = predecessor();
    let url = "https://example.com/gitea-runner";
    env.insert("RUNNER_URL".into(), url.into());
    let mistakes = settings::parse("", None, &env).expect_err("no hash").to_string();
    assert!(mistakes.contains("RUNNER_SHA256: compute: is not set"), "{mistakes}");
    env.insert("RUNNER_SHA256".into(), "XY".into());
    let mistakes = settings::parse("", None, &env).expect_err("no SHA-256").to_string();
    assert!(mistakes.contains("RUNNER_SHA256: compute: \"XY\" is not valid"), "{mistakes}");
    env.insert("RUNNER_SHA256".into(), "0a".repeat(32));
    let settings = settings::parse("", None, &env).expect("a download").settings;
    let setup = settings.classes[0].machines[0].runner.clone().expect("a runner");
    let named = setup.download.expect("a download");
    assert_eq!((named.url, named.sha256), (url.to_owned(), "0a".repeat(32)));
}

#[cfg(feature = "aws")]
#[test]
fn jobs_in_ec2_may_run_as_a_user_of_the_image() {
    let setup = |labels: &str, runner: &str| {
        let text = with(&format!(
            "compute = \"ec2:eu-central-1\"\n[[class]]\nname = \"a\"\nlabels = [\"{labels}\"]\n\
             [class.machines]\nkinds = [\"c7a.medium\"]\nimage = \"ami-0123\"\n\
             subnets = [\"subnet-a\"]\nsecurity_groups = [\"sg-1\"]\n[class.runner]\n{runner}"
        ));
        let loaded = parse(&text, &[("HOME_TOKEN", "long-token")]).expect("good");
        let setup = loaded.settings.classes[0].machines[0].runner.clone().expect("a runner");
        (setup.user, setup.docker, loaded.warnings)
    };
    let runner = Some("runner".to_owned());
    let user = "user = \"runner\"";
    assert_eq!(setup("a", user), (runner.clone(), false, Vec::new()));
    let with_docker = format!("{user}\ndocker = true");
    assert_eq!(setup("a:docker://node", &with_docker), (runner, true, Vec::new()));
    let (_, _, warnings) = setup("a:docker://node", user);
    assert!(warnings[0].contains("needs Docker, which `runner.user` may use"), "{warnings:?}");
}

#[cfg(feature = "aws")]
#[test]
fn machines_in_ec2_are_checked() {
    let ec2 = "compute = \"ec2:eu-central-1\"";
    bad_top(
        ec2,
        &expect!["ci.toml: class: is missing: expected tables in the file, each under [[class]]"],
    );
    let class = format!("{ec2}\n[[class]]\nname = \"a\"\nlabels = [\"a\"]");
    bad_top(
        &class,
        &expect![[r#"
        ci.toml: class "a": machines.image: is missing: expected a string
        ci.toml: class "a": machines.kinds: is missing: expected a list of strings such as ["a", "b"]
        ci.toml: class "a": machines.subnets: is missing: expected a list of strings such as ["a", "b"]"#]],
    );
    bad_top(
        &format!(
            "{class}\n[class.machines]\nkinds = [\"small\", \"c7a.medium\"]\nimage = \"latest\"\n\
             subnets = [\"eu-central-1a\"]\nsecurity_groups = [\"default\"]\ninstance_profile = \"a b\""
        ),
        &expect![[r#"
            ci.toml:6: class "a": machines.kinds: "small" is not valid: expected an instance type such as "c7a.medium"
            ci.toml:7: class "a": machines.image: "latest" is not valid: expected an image ID such as "ami-0123456789abcdef0", or "ssm:/PATH" of a parameter that holds one
            ci.toml:8: class "a": machines.subnets: "eu-central-1a" is not valid: expected a subnet ID such as "subnet-0123456789abcdef0"
            ci.toml:9: class "a": machines.security_groups: "default" is not valid: expected a security group ID such as "sg-0123456789abcdef0"
            ci.toml:10: class "a": machines.instance_profile: "a b" is not valid: expected the name or ARN of an instance profile"#]],
    );
    bad_top(
        "queue = \"sqs:wakes\"\ncompute = \"ec2:Frankfurt\"",
        &expect![[r#"
        ci.toml:1: queue: "wakes" is not a queue URL: expected "sqs:https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"
        ci.toml:2: compute: "Frankfurt" is not a region: expected one such as "eu-central-1""#]],
    );
    let good = format!(
        "{ec2}\nqueue = \"sqs:https://sqs.eu-central-1.amazonaws.com/123456789012/wakes\"\n[forge]\n\
         url = \"https://git.example.com\"\ntoken = {{ env = \"T\" }}\n[[class]]\nname = \"a\"\n\
         labels = [\"a\"]\n[class.machines]\nmarkets = [\"spot\", \"on-demand\"]\nkinds = [\"t3.small\"]\n\
         image = \"ami-0123\"\nsubnets = [\"subnet-a\"]"
    );
    let loaded = settings::parse(&good, Some("ci.toml".as_ref()), &env(&[("T", "token-of-gitea")]))
        .expect("good");
    assert_eq!(
        loaded.settings.queue,
        QueueUrl::Sqs("https://sqs.eu-central-1.amazonaws.com/123456789012/wakes".into())
    );
    assert_eq!(loaded.settings.classes[0].machines.len(), 2);
    expect![[r#"
        ci.toml:9: class "a": machines.security_groups: is not set: machines get the VPC's default group
        ci.toml:11: class "a": machines.kinds: t3.small is burstable: AWS bills CPU use beyond its credits (t2 is slowed down instead); `cpu_credits` says which is meant; c and m families have no such limit"#]].assert_eq(&loaded.warnings.join("\n"));
}

#[cfg(feature = "aws")]
#[test]
fn the_predecessors_variables_have_a_disk_and_a_public_address() {
    let mut env = predecessor();
    let options = |env: &BTreeMap<String, String>| {
        let settings = settings::parse("", None, env).expect("a configuration").settings;
        settings.classes[0].machines[0].options.clone()
    };
    assert!(options(&env).is_default());
    env.insert("DISK_GIB".into(), " 40 ".into());
    env.insert("PUBLIC_ADDRESS".into(), "false".into());
    let set = options(&env);
    assert_eq!((set.disk_gib, set.public_address), (Some(40), Some(false)));
    // As the stack passes on what is not set.
    env.insert("DISK_GIB".into(), String::new());
    env.insert("PUBLIC_ADDRESS".into(), String::new());
    assert!(options(&env).is_default());
    env.insert("DISK_GIB".into(), "0".into());
    env.insert("PUBLIC_ADDRESS".into(), "yes".into());
    let mistakes = settings::parse("", None, &env).expect_err("neither is valid");
    expect![[r#"
        DISK_GIB: disk_gib: expected a whole number from 1 to 65536
        PUBLIC_ADDRESS: public_address: expected true or false"#]]
    .assert_eq(&mistakes.to_string());
}
