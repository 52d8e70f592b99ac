// What stands around every page: the header, the list of pages, the footer.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { may, type Me, type Role } from '../api/accounts.ts';
import { useObserved } from '../observable.ts';
import { place } from '../router.ts';
import { setUpTheme } from '../theme.ts';
import { Icon, type IconName } from '../ui/icon.tsx';
import { Toast } from '../ui/toast.tsx';
import { leave } from './door.tsx';
import { facts, health, healthInWords } from './health.ts';
import { me as whoever } from './session.ts';

export interface NavItem {
  path: string;
  title: string;
  icon: IconName;
  role: Role; // at least
  group: 'work' | 'server';
}

function Brand() {
  return (
    <a class="brand" href="/" aria-label="Nexus, home">
      <svg viewBox="0 0 32 32" aria-hidden="true">
        <path
          class="brackets"
          d="M4 10.5V7a3 3 0 0 1 3-3h3.5M21.5 4H25a3 3 0 0 1 3 3v3.5M28 21.5V25a3 3 0 0 1-3 3h-3.5M10.5 28H7a3 3 0 0 1-3-3v-3.5"
        />
        <circle class="dot" cx="16" cy="16" r="4.5" />
      </svg>
      Nexus
    </a>
  );
}

function HealthLight() {
  const now = useObserved(health);
  return (
    <p class="health" id="health" data-state={now.state}>
      <span class="health-dot" aria-hidden="true" />
      <span id="health-text">{healthInWords(now)}</span>
    </p>
  );
}

function Who({ me }: { me: Me }) {
  const known = me.kind === 'session' || me.kind === 'key';
  return (
    <div class="who" id="who">
      {known ? (
        <a class="who-name" id="who-name" href="/account" title="Your account">{`${me.name} · ${me.role}`}</a>
      ) : (
        <span
          class="who-name"
          id="who-name"
          title="There are no users: whoever is on this machine may do everything."
        >
          Open to this machine
        </span>
      )}
      {me.kind === 'session' && (
        <button class="button" id="sign-out" type="button" onClick={() => void leave()}>
          Sign out
        </button>
      )}
    </div>
  );
}

function ThemeButton() {
  useEffect(() => setUpTheme(), []); // which keeps the label, too
  return (
    <button class="icon-button" id="theme" type="button" aria-label="Switch the theme">
      <svg class="moon" viewBox="0 0 24 24" aria-hidden="true">
        <path d="M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z" />
      </svg>
      <svg class="sun" viewBox="0 0 24 24" aria-hidden="true">
        <circle cx="12" cy="12" r="4" />
        <path d="M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4" />
      </svg>
    </button>
  );
}

/** Whether path is item's page, or one below it. */
const isAt = (item: string, path: string): boolean =>
  item === '/' ? path === '/' : path === item || path.startsWith(`${item}/`);

function NavLinks({ items, path }: { items: readonly NavItem[]; path: string }) {
  return (
    <ul>
      {items.map((item) => (
        <li key={item.path}>
          <a href={item.path} aria-current={isAt(item.path, path) ? 'page' : undefined}>
            <Icon name={item.icon} />
            {item.title}
          </a>
        </li>
      ))}
    </ul>
  );
}

function Nav({ items, path, open }: { items: readonly NavItem[]; path: string; open: boolean }) {
  const work = items.filter(({ group }) => group === 'work');
  const server = items.filter(({ group }) => group === 'server');
  return (
    <nav class="nav" id="nav" aria-label="Pages" data-open={open}>
      <NavLinks items={work} path={path} />
      {server.length > 0 && (
        <>
          <p class="nav-title">Server</p>
          <NavLinks items={server} path={path} />
        </>
      )}
      <p class="nav-title">Reference</p>
      <ul>
        <li>
          <a href="/docs">
            <Icon name="docs" />
            API docs
          </a>
        </li>
        <li>
          <a href="/metrics">
            <Icon name="metrics" />
            Metrics
          </a>
        </li>
      </ul>
    </nav>
  );
}

function Footer() {
  const { ready } = useObserved(health);
  return (
    <footer class="foot">
      <p id="server-facts">{ready && facts(ready)}</p>
      <p>
        <a href="/openapi.json">openapi.json</a>
      </p>
    </footer>
  );
}

export function Shell({ items, children }: { items: readonly NavItem[]; children: ComponentChildren }) {
  const me = useObserved(whoever);
  const { path } = useObserved(place);
  const [menuOpen, setMenuOpen] = useState(false);
  const first = useRef(true);
  useEffect(() => {
    setMenuOpen(false);
    if (first.current) {
      first.current = false;
    } else {
      document.getElementById('main')?.focus({ preventScroll: true }); // the new page is read from its top
    }
  }, [path]);
  return (
    <div class="shell" data-nav={me !== null}>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="bar">
        {me && (
          <button
            class="icon-button menu-button"
            type="button"
            aria-label="Pages"
            aria-expanded={menuOpen}
            aria-controls="nav"
            onClick={() => setMenuOpen(!menuOpen)}
          >
            <Icon name={menuOpen ? 'close' : 'menu'} />
          </button>
        )}
        <Brand />
        <HealthLight />
        <div class="bar-end">
          {me && <Who me={me} />}
          <ThemeButton />
        </div>
      </header>
      {me && <Nav items={items.filter(({ role }) => may(me, role))} path={path} open={menuOpen} />}
      <main id="main" tabIndex={-1}>
        {children}
      </main>
      <Footer />
      <Toast />
    </div>
  );
}
