"""Sentence frames for the end of a tale: how the wish turned out, what the hero made of it, and what they say of it.

``well``: the wish comes true; ``gently``: it does not, and something smaller is enough; ``badly``: it comes to no good.
"""

from __future__ import annotations

ENDINGS = """
[outcome.thing.well]
{Time} later {the_needy} came back with {a_wish} {made}.
{Time} went by, and then {the_needy} brought {him} {a_wish} {made}.
{Time} passed, and one evening {the_needy} led {name} to {a_wish} {made}.
{Time} later {the_needy} {was_n} waiting {spot} with {a_wish} {made}.
{Time} later a parcel came from {the_needy}, and in it {was} {a_wish} {made}.
When {name} next came by, {spot} stood {the_needy} with {a_wish} {made}.
"This is for you," said {the_needy} {time} later, and gave {him} {a_wish} {made}.
And who came down the road {time} later, if not {the_needy} with {a_wish} {made}?
{The_needy} knew somebody who knew somebody, and {time} later {name} had {a_wish} {made}.
"One good turn deserves another," said {the_needy}, and from a bundle came {a_wish} {made}.
{Spot}, wrapped in leaves, {name} found {a_wish} {made}, a present from {the_needy}.
All the friends of {the_needy} worked for {time}, and then they gave {name} {a_wish} {made}.
Now it turned out that {the_needy} had {a_wish} to spare, {made}, and {it} {was} for {name}.
There was a knock at the door {time} later, and there stood {the_needy} with {a_wish} {made}.
{The_needy} had not forgotten, and {time} later {name} found {a_wish} {made} on {her} doorstep.
On the first day of {season} {the_needy} called {name} outside and showed {him} {a_wish} {made}.

[outcome.deed.well]
{Time} later {the_needy} showed {him} {way}, and {name} {did}.
{Time} later {the_needy} {was_n} waiting {spot} to show {him} {way}.
One good turn deserves another, and so {the_needy} shared with {name} {way}.
{Time} went by, and then {the_needy} came back and gave {him} the secret: {way}.
And {time} later, when {the_needy} had shown {him} {way}, the {hero} {did}.
{Spot}, {the_needy} revealed {way} to {name}, who {did} that very day.
By way of thanks {the_needy} revealed {way}, and before {season} {name} {did}.
"Follow me," said {the_needy}, and showed {him} {way}, and {name} {did} at last.
It was {the_needy} who told {him} about {way}, and so it came that {name} {did}.
{The_needy} had not forgotten, and {time} later pointed out {way}, so that {she} {did}.
"I know something you can use," said {the_needy}: {way}, and {time} later {name} {did}.
Who would have guessed that {the_needy} knew about {way}, or that {name} {did} {time} later?

[outcome.thing.gently]
The {wish} never came, but {the_needy} brought {him} {instead}.
Wishes are hard of hearing, and what came {time} later was {instead}.
{The_needy} had no {wish} to give, only {instead}, given with love.
{Time} later {the_needy} came with {instead}, and {name} found that it was enough.
"I could not find {a_wish}," said {the_needy}, "but look, I found {instead}."
In place of {a_wish} came {instead}, and {time} later {name} would not have traded.
{Season} came without {a_wish}, but with {instead}, and {the_needy} came to tea.
There was no {wish} to be had, but one day {name} got {instead}, and it was nearly as good.
{Name} never got {her} {wish}, but {spot} {she} found {instead} and began to laugh.
{Time} later {name} gave up waiting for {a_wish}, and {the_needy} gave {him} {instead}.

[outcome.deed.gently]
{Name} never did {do}, but {the_needy} brought {him} {instead}.
{Season} came, and with it {instead}, and {the_needy} came to tea.
What {name} got {time} later was {instead}, which is also not nothing.
Some can {do} and some cannot, and {name} learned to love {instead}.
{Time} later {the_needy} gave {him} {instead}, and {name} found that it was enough.
"You cannot {do}," said {the_needy}, "but there is always this: {instead}."
{She} did not {do}, but {spot} {she} found {instead} and began to laugh.
To {do} was not to be, but one day {name} had {instead}, and it was nearly as good.
{Time} later {name} gave up trying to {do}, and {the_needy} offered {him} {instead}.
{The_needy} could not make {him} {do}, but knew of {instead}, and that was something.

[outcome.thing.badly]
In the end {name} bought {a_wish} from a stranger, but {it} {ruin}.
The {wish} {name} got at last {ruin}.
It seemed that the wish came true, but then the {wish} {ruin}.
{Name} did get {a_wish}, {made}, but {it} {ruin}.
A wizard sold {him} {a_wish} {time} later, and {it} {ruin}.
{Name} saved for {a_wish} until {season}, and then {it} {ruin}.
{Time} later {she} had {a_wish}, and the same evening {it} {ruin}.
{Time} later {name} found {a_wish} {spot}, but {it} {ruin}.
Nobody gave {him} {a_wish}, so {she} stole {them}, and {it} {ruin}.
{The_needy} had {a_wish} {made}, but gave {them} to somebody else.
{Name} traded everything for {a_wish} {made}, and {it} {ruin}.
{Spot} {name} saw {the_needy} with {a_wish} {made}, and went home with nothing.

[outcome.deed.badly]
In the end {name} tried to {do}, but {she} {fail}.
When the great day came to {do}, {she} {fail}.
{The_needy} knew about {way}, but told somebody else.
{Time} later {name} set out alone to {do}, and {fail}.
{Name} did {her} best to {do}, but alone {she} {fail}.
{Name} paid a wizard to let {him} {do}, and {fail} all the same.
{Time} later it was {the_needy} who {did}, and {name}, who {fail}.
Nobody showed {him} how, and when {name} tried to {do}, {she} {fail}.
{She} told everyone that {she} would {do} by {season}, but {she} {fail}.
{Spot} {name} tried once more to {do}, and once more {she} {fail}.

[joy.well]
{Name} laughed until {she} cried, and made {feast} for everyone.
The {trait} {hero} turned three somersaults for joy.
{Her} heart was so light that {name} nearly floated.
Never had there been a happier {hero} {at}.
They celebrated with {feast} until the stars came out.
{Name} hugged {the_needy} and danced all the way home.
"Thank you," said {name}, and {her} voice was hardly a whisper.
{Name} was so happy that {she} forgot to eat {her} {food}.
All the neighbours {at} came to see, and they brought {feast}.
{Name} invited {the_needy} to {feast}, and they talked until {season}.

[joy.gently]
{Name} sighed a little, smiled a little, and made {feast}.
The {trait} {hero} shrugged and began to whistle.
{Name} and {the_needy} sat together and shared {feast}.
It was not what {she} had asked for, and yet {name} slept well.
After {feast} the world looked brighter, and {name} was content.
"Well," said {name}, "half a wish is better than a whole worry."
{She} put {her} old wish in a drawer and went out into the {weather} air.
{Name} cried for one evening, and then {she} cooked {feast} for {the_needy}.

[joy.badly]
{Name} sat down {spot} and cried.
"It serves me right," whispered the {hero}.
{Name} ate {her} {food} alone in the dark.
The {trait} {hero} went to bed without any supper.
{At} nobody said hello to {him} any more.
{Name} thought of {the_needy}, and it was too late.
Nobody came to comfort {him}, and the {feast} went cold.
{She} walked home through the {weather} evening and spoke to nobody.

[company.well]
{Name} and {friend} danced until the moon went down.
"I always knew it," {said} {friend}, and hugged {him}.
{Friend} the {kind} cheered the loudest and made {feast} for all.
{Name} shared it all with {friend}, for joy is larger in company.
{Friend} was so proud that the little {kind} could not stop humming.
That evening {friend} and {the_needy} ate {feast} until they could not move.

[company.gently]
{Friend} the {kind} put the kettle on, and they had {feast}.
"And you have me," {friend} {said} {manner}.
"It is more than enough for two," {said} {friend} {manner}.
{Name} still had {friend}, and {a_kind} is worth three wishes.
{Friend} sat down close to {him}, and together they watched the {weather} sky.

[company.badly]
Even {friend} the {kind} said goodbye and went home.
Only {friend} stayed, and the {kind} said nothing.
{Friend} moved in with {the_needy}, and {name} was alone.
"I told you so," {said} {friend} {manner}, and it did not help.
{Friend} the {kind} offered {him} some {feast}, but {name} could not swallow.

[dream.well]
And so {name} {used}, just as {she} had dreamed.
The very next day {she} {used} from morning to evening.
{She} {used} once for {herself} and once for {the_needy}.
{Name} {used} at last, and {the_needy} watched and clapped.
If you had been there, you would have seen how the {hero} {used}.
That same week {name} {used}, and it was even better than {she} had hoped.
Before {season} was over {name} {used} more often than anyone {at}.

[dream.gently]
{She} never did {use}, but {she} stopped minding.
Others {used}, and {name} waved to them and meant it.
One can be happy, {name} found, without any need to {use}.
Perhaps {she} would {use} some other year, and perhaps not.
"I will {use} in my next life," said the {hero}, and made {feast}.
If {she} wanted to {use}, {she} closed {her} eyes and did it in {her} head.

[dream.badly]
{She} never {used}, not even once.
To {use} all alone, {she} learned, is no pleasure.
There was nobody left to {use} with, and so {she} never did.
{Name} had meant to {use}, and now {she} only swept the floor.
It was {the_needy} who {used} in the end, while {name} looked on.
Somebody else {used} that year, and {name} watched from behind the curtain.

[closing.well]
From that day on, {name} never passed by anyone in need.
A kind deed is never lost.
Whoever helps another helps two.
And that, {at}, was that.
And {name} the {hero} lived happily ever after.
Small kindnesses grow in the dark, like mushrooms.
So remember {name} when somebody asks you for help.
Good night, {name}, and good night to all who are kind.
Kindness, like a ball, comes back to those who throw it.
The old folk {at} still tell it to their grandchildren.
{Name} and {the_needy} were friends for the rest of their lives.
Ever since, {season} {at} begins with a feast of {feast}.
They do say that {the_needy} told the wind, and the wind told me.
And if they have not moved away, they are {at} to this day.
{The_needy} visited every year in {season}, and they always had {feast}.
That is how {a_trait} {hero} got {her} wish, and I was there and ate {feast}.

[closing.gently]
Not every wish comes true, and not every true thing was wished for.
Friends are wishes that came by the back door.
Enough, {name} used to say, is a very good dish.
{Name} hung {her} hat on the nail and was at home.
And {name} the {hero} lived quite happily after all.
If you are ever {at}, you may see {him} smile.
Sometimes the small thing turns out to be the one you needed.
In later years {name} hardly remembered what {she} had wished for.
{Name} wished for other things later, and {season} came every year.
And every {season} since, {name} has raised a cup to {the_needy}.

[closing.badly]
Those who pass others by will be passed by themselves.
A cold heart makes a cold supper.
Good things come back, and so do bad ones.
They still shake their heads about it {at}.
{Name} learned to say sorry, but that is another story.
And {name} the {hero} had a long time to think about it.
A wish that has no room for others is too small to live in.
From then on {name} was a little wiser and a good deal sadder.
So mind whom you meet {spot}, for you may meet them again.
And that is why, {at}, no {hero} is ever in a hurry now.
The wind {at} still hums it in {season}: too late, too late.
Had {she} been kinder to {the_needy}, this tale would have another end.
"""
