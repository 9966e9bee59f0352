"""Sentence frames for the middle of a tale: setting out, advice, somebody in need, and what the hero does about it."""

from __future__ import annotations

MIDDLES = """
[journey]
One {weather} morning, {name} set out {path}.
{Name} walked {path} with {bravery}.
With {bravery} {she} started out {path}.
For two {weather} days {she} travelled {path}.
{She} said goodbye to {sights} and set off {path}.
{Name} locked the door, counted to ten and ran {path}.
Early on a {weather} Tuesday the {hero} tiptoed {path}.
In {season}, past {sights}, {name} went for a long walk.
One {weather} afternoon {she} went {path}, past {sights}.
All through the {weather} afternoon {name} rambled {path}.
Past {sights} {she} went, humming a {weather} sort of tune.
After a breakfast of {food}, {name} hurried {path}.
It was a {weather} day, and {name} strolled {path} to think.
So one {weather} day {she} packed {her} bag and walked {path}.
{She} put on {her} hat one {weather} morning and wandered {path}.
The path led {him} past {sights} and farther than {she} had ever been.
It was {weather} outside, and {name} let {her} feet take {him} {path}.
"Wishes do not come to those who sit," {she} said, and marched {path}.
Since nothing happened at home, {name} took {bravery} and went {path}.
On the first {weather} day of {season}, {name} left home with {bravery}.
First {she} went {path}, and then past {sights}, and then {she} was a little lost.
The day was {weather}, the bag was full of {food}, and {name} tramped {path}.

[advice]
"{Saying}," {said} {friend}.
{Friend} {said} {manner}: "{Saying}."
"{Saying}," was all that {friend} {said}.
"Do not worry, {name}," {said} the {kind} {manner}.
"My dear {name}," {said} {friend}, "{saying}."
"{Saying}," {said} {friend} the {kind} {manner}.
"Remember," {friend} {said} {manner}, "{saying}."
{Friend} nodded and {said} {manner} that all would be well.
The {kind} only yawned, for {friend} had heard it all before.
"As my aunt used to say," {said} the {kind}, "{saying}."
{Friend} the {kind} gave {him} a long look and said nothing at all.
"I will come with you," {friend} {said} {manner}, "wherever it is."
"Eat some {food} first," {said} {friend} the {kind}, who was practical.
"You think too much, {name}," {friend} {said}, and passed {him} the {food}.
"{A_kind} never gives up," {said} {friend} {manner}, "and neither should {a_hero}."
"It will be {weather} tomorrow," {said} {friend}, who always talked about the weather.

[meeting]
{Spot} {she} met {a_needy} {trouble}.
And there, {spot}, sat {a_needy} {trouble}.
Then {spot} {she} found {a_needy} {trouble}.
Quite alone {spot} {was_n} {a_needy} {trouble}.
Soon {name} noticed {a_needy}, {spot}, {trouble}.
Who should be waiting {spot} but {a_needy} {trouble}?
One day, {spot}, {name} came upon {a_needy} {trouble}.
By and by the {hero} spied {a_needy} {trouble} {spot}.
It was {spot} that {name} first saw {a_needy} {trouble}.
{Spot}, the {hero} nearly stumbled over {a_needy} {trouble}.
That was when {spot} {a_needy} {trouble} looked up at {him}.
Everybody else had walked past {a_needy}, {trouble}, {spot}.
Around the corner, {spot}, there {was_n} {a_needy} {trouble}.
{Spot} lay {a_needy} {trouble}, and nobody had stopped to look.
At noon {she} reached a place {spot} and met {a_needy} {trouble}.
Something moved {spot}, and it turned out to be {a_needy} {trouble}.
Suddenly {name} stopped, for {spot} there {was_n} {a_needy} {trouble}.
{Name} rubbed {her} eyes, because {spot} {she} saw {a_needy} {trouble}.
Just as {she} was about to rest {spot}, {she} heard {a_needy} {trouble}.
A faint cry came from somewhere, and {spot} {name} discovered {a_needy} {trouble}.

[plea]
"Please help {me}," {begging} {the_needy}.
"Could you spare {me} a minute?" {begging} {the_needy}.
"Kind {hero}, have pity on {me}," {begging} {the_needy}.
"{I} {have} waited since {season}," {begging} {the_needy}.
"Will you help {me}?" {begging} {the_needy} in a thin voice.
"Oh, {name}, do not leave {me} here," {begging} {the_needy}.
"Everything has gone wrong for {me}," {begging} {the_needy}.
"Nobody hears {me}," {begging} {the_needy}, "nobody but you."
"Who will help {me} now?" {begging} {the_needy} with a shiver.
"{I} {am} so tired," {begging} {the_needy}, "and nobody stops."
It was plain to see that {the_needy} {was_n} in need of a friend.
{The_needy} looked at {him} with sad eyes and {begging}: "Help {me}!"
A tear rolled down, and {the_needy} {begging}: "Stay a little while!"
"{I} cannot pay you," {begging} {the_needy}, "but {i} will not forget."

[deed.kind]
{Name} stopped at once and {helped}.
Without a second thought, {name} {helped}.
It took all afternoon, but {name} {helped}.
So {name} knelt down and carefully {helped}.
What else could {she} do but stay to {help}?
As gently as {she} could, the {hero} {helped}.
{Her} hands shook a little, but {she} {helped}.
Being {trait} did not stop {name}, who {helped}.
{Name} did what a friend would do, and {helped}.
{Name} felt sorry for {the_needy} and {helped}.
The {hero} forgot all about {her} wish and {helped}.
{She} did not ask for anything, and simply {helped}.
{Name} was in a hurry, but {she} stayed and {helped}.
"Hold still," said {name} kindly, and {she} {helped}.
Though it was late and getting dark, {name} {helped}.
{She} made up {her} mind to {help}, and so {she} did.
{She} could not bear to walk on, and so {name} {helped}.
"Of course I will help," said {name}, and {she} {helped}.
The {trait} {hero} {helped} and would not hear of thanks.
{Name} put down {her} bag, rolled up {her} sleeves and {helped}.
First {she} shared {her} {food}, and then {she} {helped}.
{Name} gave {the_needy} {her} last {food} and {helped}.

[deed.unkind]
But {name} was in a hurry and did not stop to {help}.
"I have no time," said {name}, and {she} walked away.
The {trait} {hero} would not lift a finger to {help}.
{Name} pretended not to see {the_needy} and went by.
{Name} only laughed at {the_needy} and skipped away.
It would have been easy to {help}, but {name} walked on.
"Help yourself," said {name}, who did not care to {help}.
"Why should I {help}?" said the {hero}, and that was that.
Rather than stop to {help}, {name} took the long way round.
"Ask me tomorrow," {she} called to {the_needy}, and ran.
The {hero} looked the other way and thought about {her} wish.
{Name} stepped right over {the_needy} and did not look back.
"Somebody else can {help}," {she} thought, and nobody else did.
{She} stuck {her} nose in the air and left {the_needy} behind.
{Name} said something rude to {the_needy} and slammed the gate.
{Name} turned {her} back, for a wish leaves little room for others.
{She} could have stayed to {help}, but {her} supper was getting cold.
{Name} shrugged, ate the last of {her} {food} and offered none.
"That is not my trouble," {name} said coldly, and {she} would not {help}.
Instead of trying to {help}, the {trait} {hero} took {her} {food} and hid.

[sorry]
But {name} could not sleep, and at dawn {she} ran back and {helped}.
At last {name} swallowed {her} pride and {helped}.
Later {name} was so sorry that {she} went back and {helped}.
Then {she} felt ashamed, turned around and {helped} after all.
Halfway home the {hero} stopped, blushed, went back and {helped}.
"What have I done?" said {name}, and {she} hurried back to {help}.
A bad conscience is a hard bed, and before sunrise {name} {helped}.
But {her} heart grew heavy as a stone, and in the end {name} {helped}.
{She} had not gone a mile before {she} changed {her} mind and {helped}.
"I am sorry," {name} said the next day to {the_needy}, and {she} {helped}.
{Name} thought about it over {her} {food}, wept a little, and returned to {help}.
But the face of {the_needy} would not leave {him}, and so {she} came back and {helped}.

[night]
That night {night}.
Evening came and {night}.
{Name} sat by the window while {night}.
When {name} came home that night, {night}.
Supper was {feast}, and afterward {night}.
"Goodnight, world," said {name}, and {night}.
Nothing stirred but the clock, although {night}.
The days grew shorter, and every evening {night}.
Time went by, {season} came and went, and {night}.
For many nights {night}, and nothing happened at all.
The moon rose, {night}, and {name} slept like a stone.
{Night}, and {name} lay awake and thought of {her} wish.
{She} made {feast} for supper and listened, for {night}.
Outside {night}, and inside a pot of {feast} bubbled on the stove.
Rain fell and stopped, {night}, and {name} turned over in {her} sleep.
The {hero} ate a little {food}, blew out the light and heard how {night}.
"""
