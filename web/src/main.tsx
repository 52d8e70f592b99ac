// The page: which pages there are, for whom, and the one that is shown.

import { render, type ComponentChildren } from 'preact';
import { useRef } from 'preact/hooks';
import { may, type Role } from './api/accounts.ts';
import { Analyze } from './analyze/analyze.tsx';
import { Lazy } from './lazy.tsx';
import { useObserved } from './observable.ts';
import { JobPage } from './pages/job.tsx';
import { Jobs } from './pages/jobs.tsx';
import { Account } from './pages/account.tsx';
import { Audit } from './pages/audit.tsx';
import { KeysOrNone } from './pages/keys.tsx';
import { Models } from './pages/models.tsx';
import { Overview } from './pages/overview.tsx';
import { Settings } from './pages/settings.tsx';
import { Users } from './pages/users.tsx';
import { VideoPage } from './pages/video.tsx';
import { Videos } from './pages/videos.tsx';
import { match, place, setUpRouter, type Params, type Place } from './router.ts';
import { Door, entrance, knock } from './shell/door.tsx';
import { setUpHealth } from './shell/health.ts';
import { me as whoever } from './shell/session.ts';
import { Shell, type NavItem } from './shell/shell.tsx';
import { Blank, Loading, Page, ProblemBox } from './ui/page.tsx';

interface PageRoute {
  pattern: string;
  role: Role; // who may see it, at least
  nav?: Omit<NavItem, 'path' | 'role'>;
  show: (params: Params, at: Place) => ComponentChildren; // null: it is always there, as Analyze is
}

const watch = () => import('./watch.ts');

// The server answers these paths with the page too: PAGE in src/api/api.c.
const routes: PageRoute[] = [
  {
    pattern: '/',
    role: 'viewer',
    nav: { title: 'Overview', icon: 'overview', group: 'work' },
    show: () => <Overview />,
  },
  {
    pattern: '/analyze',
    role: 'operator',
    nav: { title: 'Analyze', icon: 'analyze', group: 'work' },
    show: () => null,
  },
  {
    pattern: '/videos',
    role: 'viewer',
    nav: { title: 'Videos', icon: 'videos', group: 'work' },
    show: () => <Videos />,
  },
  {
    pattern: '/videos/:id',
    role: 'viewer',
    show: ({ id = '' }, { query }) => <VideoPage id={id} analyse={query.has('analyse')} />,
  },
  {
    pattern: '/streams',
    role: 'viewer',
    nav: { title: 'Streams', icon: 'streams', group: 'work' },
    show: () => <Lazy load={watch}>{({ Streams }) => <Streams />}</Lazy>,
  },
  {
    pattern: '/streams/:id',
    role: 'viewer',
    show: ({ id = '' }, { query }) => (
      <Lazy load={watch}>{({ StreamPage }) => <StreamPage id={id} editing={query.has('edit')} />}</Lazy>
    ),
  },
  {
    pattern: '/events',
    role: 'viewer',
    nav: { title: 'Events', icon: 'events', group: 'work' },
    show: (_, { query }) => <Lazy load={watch}>{({ Events }) => <Events query={query} />}</Lazy>,
  },
  {
    pattern: '/events/:id',
    role: 'viewer',
    show: ({ id = '' }) => <Lazy load={watch}>{({ EventPage }) => <EventPage id={id} />}</Lazy>,
  },
  {
    pattern: '/jobs',
    role: 'viewer',
    nav: { title: 'Jobs', icon: 'jobs', group: 'work' },
    show: (_, { query }) => <Jobs state={query.get('state')} />,
  },
  { pattern: '/jobs/:id', role: 'viewer', show: ({ id = '' }) => <JobPage id={id} /> },
  {
    pattern: '/models',
    role: 'viewer',
    nav: { title: 'Models', icon: 'models', group: 'work' },
    show: () => <Models />,
  },
  {
    pattern: '/keys',
    role: 'viewer',
    nav: { title: 'Keys', icon: 'keys', group: 'server' },
    show: (_, { query }) => <KeysOrNone everybody={query.has('all')} />,
  },
  {
    pattern: '/users',
    role: 'admin',
    nav: { title: 'Users', icon: 'users', group: 'server' },
    show: () => <Users />,
  },
  {
    pattern: '/audit',
    role: 'admin',
    nav: { title: 'Audit', icon: 'audit', group: 'server' },
    show: (_, { query }) => <Audit query={query} />,
  },
  {
    pattern: '/settings',
    role: 'admin',
    nav: { title: 'Settings', icon: 'settings', group: 'server' },
    show: () => <Settings />,
  },
  { pattern: '/account', role: 'viewer', show: () => <Account /> },
];

const navItems: NavItem[] = routes.flatMap(({ pattern, role, nav }) =>
  nav ? [{ path: pattern, role, ...nav }] : [],
);

function Current({ at }: { at: Place }) {
  const me = useObserved(whoever);
  for (const route of routes) {
    const params = match(route.pattern, at.path);
    if (params && may(me, route.role)) {
      return <>{route.show(params, at)}</>;
    }
    if (params) {
      return (
        <Page title="Not for you">
          <Blank icon="keys" title={`This page is for the role ${route.role} and above.`}>
            An admin can give it to you.
          </Blank>
        </Page>
      );
    }
  }
  return (
    <Page title="Nothing here">
      <Blank icon="overview" title={`There is no page at ${at.path}.`}>
        <a href="/">Go to the overview</a>
      </Blank>
    </Page>
  );
}

/** Analyze stays where it is once it was visited: with its picture, and what was found in it. */
function Pages() {
  const at = useObserved(place);
  const me = useObserved(whoever);
  const analyzing = at.path === '/analyze' && may(me, 'operator');
  const visited = useRef(false);
  visited.current ||= analyzing;
  return (
    <>
      {visited.current && <Analyze shown={analyzing} />}
      <Current key={at.path} at={at} />
    </>
  );
}

function App() {
  const now = useObserved(entrance);
  const entered = useRef(false);
  entered.current ||= now.state === 'open';
  return (
    <Shell items={navItems}>
      {now.state === 'asking' && !entered.current && <Loading what="Asking the server" />}
      {now.state === 'unknown' && <ProblemBox problem={now.problem} retry={() => void knock()} />}
      {now.state === 'shut' && <Door plan={now.plan} />}
      {entered.current && (
        <div id="pages" hidden={now.state !== 'open'}>
          <Pages />
        </div>
      )}
    </Shell>
  );
}

setUpRouter((path) => routes.some(({ pattern }) => match(pattern, path) !== null));
setUpHealth();
render(<App />, document.getElementById('app') as HTMLElement);
void knock();
