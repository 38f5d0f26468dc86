//! Invitations over time: they expire, and two answers at the same moment make one user.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use app::room::Visitor;
use app::tenant::NewTenant;
use app::{App, SystemClock};
use gate::Pass;
use model::link::Invitation;
use model::tenant::Tier;
use model::time::DAY_MS;
use model::user::UserStatus;
use model::{Clock, Code, EnvScope, Environment, Problem, Role, TenantId, Timestamp};
use store::testing::{TestDb, engines};

mod parts;
use parts::parts;

const PASSWORD: &str = "three blue herons at dawn";

/// The machine's clock, some days ahead.
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(self.0.load(Ordering::Relaxed) * DAY_MS)
    }
}

struct House {
    app: App,
    tenant: TenantId,
    clock: Arc<Ahead>,
    _test: TestDb,
    _folder: tempfile::TempDir,
}

impl House {
    async fn new(test: TestDb) -> House {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(Ahead(AtomicI64::new(0)));
        let app = App::new(parts(&test.db, folder.path(), clock.clone()).await);
        let (tenant, _) = app
            .create_tenant(NewTenant {
                name: "Acme".to_owned(),
                tier: Tier::Free,
                owner_email: "ada@example.com".to_owned(),
                owner_name: "Ada".to_owned(),
                owner_password: None,
            })
            .await
            .expect("a tenant");
        House { app, tenant: tenant.id, clock, _test: test, _folder: folder }
    }

    fn operator(&self) -> Pass {
        Pass::operator(EnvScope { tenant: self.tenant, environment: Environment::Production })
    }

    /// The link in the newest mail.
    async fn link(&self) -> Invitation {
        let told = self.app.notices(self.tenant, None, 1).await.expect("mails");
        let text = told[0].words.text.split_whitespace().find(|word| word.contains("/invite/")).expect("a link");
        Invitation::parse(text.rsplit('/').next().expect("its end")).expect("a link")
    }

    async fn join(&self, link: &Invitation) -> Result<UserStatus, Problem> {
        let joined = self.app.join(link, &Visitor::default(), "Bob", PASSWORD).await?;
        Ok(joined.user.status)
    }
}

#[tokio::test]
async fn an_invitation_expires_and_another_one_works() {
    for test in engines().await {
        let house = House::new(test).await;
        let bob = house.app.invite_user(&house.operator(), ("bob@example.com", ""), Role::User).await.expect("invited");
        let first = house.link().await;
        assert!(house.app.invitation(&first).await.is_ok());
        house.clock.0.store(8, Ordering::Relaxed);
        for refused in [house.app.invitation(&first).await.map(|_| ()), house.join(&first).await.map(|_| ())] {
            assert_eq!(refused.expect_err("expired").code, Code::InvitationExpired);
        }
        house.app.invite_again(&house.operator(), bob.id).await.expect("invited again");
        assert_eq!(house.join(&first).await.expect_err("the old one").code, Code::LinkUnknown);
        let second = house.link().await;
        house.app.suspend_tenant(house.tenant).await.expect("suspended");
        assert_eq!(house.join(&second).await.expect_err("suspended").code, Code::TenantSuspended);
        house.app.resume_tenant(house.tenant).await.expect("resumed");
        assert_eq!(house.join(&second).await, Ok(UserStatus::Active));
    }
}

#[tokio::test]
async fn of_two_answers_at_the_same_moment_one_joins() {
    for test in engines().await {
        let house = House::new(test).await;
        house.app.invite_user(&house.operator(), ("bob@example.com", ""), Role::Admin).await.expect("invited");
        let link = house.link().await;
        let (one, other) = tokio::join!(house.join(&link), house.join(&link));
        let joined = [&one, &other].iter().filter(|answer| answer.is_ok()).count();
        let codes: Vec<_> = [one, other].into_iter().filter_map(Result::err).map(|problem| problem.code).collect();
        assert_eq!((joined, codes), (1, vec![Code::LinkUnknown]));
        assert_eq!(house.app.verify_audit(house.tenant).await, Ok(Ok(4)), "made, added, invited, joined");
    }
}
